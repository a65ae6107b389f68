//! Every page rendered on samples, so that a broken template is found at the start.
//!
//! The samples cover each branch a template can take: every problem, every kind of client and of address, every
//! optional part there and not there.

use super::{
    Account, Application, ConsentProblem, ConsentView, Destination, DeviceCodeProblem, DeviceCodeView,
    DeviceDecidedView, DeviceView, ErrorView, HomeView, Identity, LoginProblem, LoginView, Notice, OneLine,
    Pages, PagesError, Problem, ResourceView, ScopeView, SetupProblem, SetupView, Told,
};
use serde::Serialize;

/// One redirect URI of each kind a page tells apart.
pub(super) const REDIRECT_URIS: [&str; 5] = [
    "https://client.example/callback",
    "http://127.0.0.1:4711/callback",
    "http://[::1]:4711/callback",
    "sample-app://callback",
    "http://unclear.example/callback",
];

impl Pages {
    /// Renders every sample and names the first template that fails.
    pub(super) fn rehearse(&self) -> Result<(), PagesError> {
        let text = "sample";
        for view in logins(text) {
            let notice = view.problem.as_ref().map(LoginProblem::notice);
            self.try_on("login.html", &view, notice.as_ref())?;
        }
        for view in consents(text) {
            let notice = view.problem.map(ConsentProblem::notice);
            self.try_on("consent.html", &view, notice.as_ref())?;
        }
        for view in devices(text) {
            let notice = view.problem.map(DeviceCodeProblem::notice);
            self.try_on("device.html", &view, notice.as_ref())?;
        }
        for is_approved in [true, false] {
            self.try_on("device_decided.html", &DeviceDecidedView { is_approved }, None)?;
        }
        for view in errors(text) {
            let told = Told {
                words: view.problem.words(),
                view: &view,
            };
            self.try_on("error.html", &told, None)?;
        }
        for view in homes(text) {
            self.try_on("home.html", &view, None)?;
        }
        for view in setups(text) {
            let notice = view.problem.map(SetupProblem::notice);
            self.try_on("setup.html", &view, notice.as_ref())?;
        }
        self.try_on("signed_out.html", &(), None)
    }

    fn try_on(
        &self,
        template: &str,
        view: &impl Serialize,
        notice: Option<&Notice>,
    ) -> Result<(), PagesError> {
        match self.render(template, view, notice) {
            Ok(_) => Ok(()),
            Err(source) => Err(PagesError::Broken {
                name: source.name().unwrap_or(template).to_owned(),
                source,
            }),
        }
    }
}

/// Clients of every kind, with and without a name of their own.
pub(super) fn applications(text: &str) -> Vec<Application> {
    [
        Identity::Operator {
            name: OneLine::name(text),
        },
        Identity::MetadataDocument {
            host: OneLine::long(text),
        },
        Identity::SelfRegistered {
            seconds_ago: Some(40),
        },
        Identity::SelfRegistered {
            seconds_ago: Some(900_000),
        },
        Identity::SelfRegistered { seconds_ago: None },
    ]
    .into_iter()
    .zip([Some(text), Some(text), Some(text), None, None])
    .map(|(identity, claimed)| Application {
        identity,
        claimed_name: OneLine::optional_name(claimed),
        client_id: OneLine::long(text),
    })
    .collect()
}

/// Sign-in forms: every client, every destination, every problem.
pub(super) fn logins(text: &str) -> Vec<LoginView> {
    let problems = [
        None,
        Some(LoginProblem::WrongCredentials),
        Some(LoginProblem::TooManyTries {
            retry_after_seconds: 30,
        }),
        Some(LoginProblem::FormExpired),
        Some(LoginProblem::Unavailable),
    ];
    let mut views = Vec::new();
    for ((application, uri), problem) in applications(text).into_iter().zip(REDIRECT_URIS).zip(problems) {
        for username in ["", text] {
            views.push(LoginView {
                action: text.to_owned(),
                csrf: text.to_owned(),
                application: Some(application.clone()),
                destination: Some(Destination::of(uri)),
                username: username.to_owned(),
                problem,
            });
        }
        // Signing in for a device: when it is known who asks, and before.
        for application in [Some(application), None] {
            views.push(LoginView {
                action: text.to_owned(),
                csrf: text.to_owned(),
                application,
                destination: None,
                username: text.to_owned(),
                problem,
            });
        }
    }
    views
}

/// Consent forms: every client with every destination, with much and with little to decide.
pub(super) fn consents(text: &str) -> Vec<ConsentView> {
    let resource = |name, scopes| ResourceView {
        name,
        uri: OneLine::long(text),
        scopes,
    };
    let scope = |description, checked| ScopeView {
        token: text.to_owned(),
        value: text.to_owned(),
        description,
        checked,
    };
    let (name, description) = (
        OneLine::optional_name(Some(text)),
        OneLine::optional_long(Some(text)),
    );
    let full = vec![
        resource(name.clone(), vec![scope(description, true), scope(None, false)]),
        resource(None, Vec::new()),
    ];
    let mut views = Vec::new();
    for application in applications(text) {
        for uri in REDIRECT_URIS.iter().copied().chain([text]) {
            for (resources, offline_access, problem) in [
                (full.clone(), Some(true), None),
                (full.clone(), Some(false), Some(ConsentProblem::NothingChosen)),
                (Vec::new(), None, Some(ConsentProblem::FormExpired)),
            ] {
                views.push(ConsentView {
                    action: text.to_owned(),
                    csrf: text.to_owned(),
                    application: application.clone(),
                    destination: Some(Destination::of(uri)),
                    device: None,
                    account: Account {
                        username: OneLine::name(text),
                        display_name: offline_access.and(name.clone()),
                        is_admin: false,
                    },
                    resources,
                    offline_access,
                    problem,
                });
            }
        }
    }
    let of_devices: Vec<ConsentView> = views
        .iter()
        .zip([Some(OneLine::long(text)), None].into_iter().cycle())
        .map(|(view, address)| ConsentView {
            destination: None,
            device: Some(DeviceView {
                address,
                seconds_ago: 20,
            }),
            ..view.clone()
        })
        .collect();
    views.extend(of_devices);
    views
}

/// Forms for a device's code: fresh, with a code brought along, and after every mistake.
pub(super) fn devices(text: &str) -> Vec<DeviceCodeView> {
    let problems = DeviceCodeProblem::ALL.into_iter().map(Some);
    let mut views = Vec::new();
    for problem in [None].into_iter().chain(problems) {
        for (user_code, is_brought) in [("", false), (text, false), (text, true)] {
            views.push(DeviceCodeView {
                action: text.to_owned(),
                csrf: text.to_owned(),
                account: Account {
                    username: OneLine::name(text),
                    display_name: is_brought.then(|| OneLine::name(text)),
                    is_admin: false,
                },
                user_code: OneLine::long(user_code),
                is_brought,
                problem,
            });
        }
    }
    views
}

/// Every error, bare and with all there is to tell.
pub(super) fn errors(text: &str) -> Vec<ErrorView> {
    let mut views: Vec<_> = Problem::ALL.into_iter().map(ErrorView::new).collect();
    for problem in Problem::ALL {
        for uri in REDIRECT_URIS.iter().copied().chain([text]) {
            views.push(ErrorView {
                problem,
                detail: Some(OneLine::long(text)),
                destination: Some(Destination::of(uri)),
                request_id: Some(OneLine::long(text)),
            });
        }
    }
    views
}

/// The home page, signed out, signed in, and signed in as administrator.
pub(super) fn homes(text: &str) -> Vec<HomeView> {
    let account = |display_name, is_admin| Account {
        username: OneLine::name(text),
        display_name,
        is_admin,
    };
    [
        None,
        Some(account(None, false)),
        Some(account(OneLine::optional_name(Some(text)), true)),
    ]
    .into_iter()
    .map(|account| HomeView {
        account,
        csrf: text.to_owned(),
    })
    .collect()
}

/// The set-up form, fresh and after every mistake.
pub(super) fn setups(text: &str) -> Vec<SetupView> {
    let problems = SetupProblem::ALL.into_iter().map(Some);
    [None]
        .into_iter()
        .chain(problems)
        .zip(["", text].into_iter().cycle())
        .map(|(problem, username)| SetupView {
            action: text.to_owned(),
            csrf: text.to_owned(),
            username: username.to_owned(),
            problem,
        })
        .collect()
}
