//! Every page rendered on samples, so that a broken template is found at the start.
//!
//! The samples cover each branch a template can take: every problem, every kind of client and of address, every
//! optional part there and not there.

use super::{
    Account, Acquaintance, AppView, Application, AppsView, ConsentProblem, ConsentView, Destination,
    DeviceCodeProblem, DeviceCodeView, DeviceDecidedView, DeviceView, DisconnectView, ErrorView, GrantView,
    HomeView, Identity, LastUseView, LoginProblem, LoginView, Notice, OneLine, Pages, PagesError, Paging,
    Problem, ResourceView, ScopeView, SetupProblem, SetupView, SignOutEverywhereView, SignedOut, Told,
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
        for view in apps(text) {
            self.try_on("apps.html", &view, None)?;
        }
        for view in disconnects(text) {
            self.try_on("disconnect.html", &view, None)?;
        }
        for view in sign_outs(text) {
            self.try_on("sign_out_everywhere.html", &view, None)?;
        }
        for what in SignedOut::ALL {
            self.try_on("signed_out.html", &what, None)?;
        }
        Ok(())
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
        // Its address is ours, the identifier in it spelled out.
        logo: claimed
            .is_some()
            .then(|| "/tenant/ui/client-logo/https%3A%2F%2Fa.example%2Fc".to_owned()),
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
                is_for_account: false,
                destination: Some(Destination::of(uri)),
                username: username.to_owned(),
                problem,
            });
        }
        // Signing in for a device: when it is known who asks, and before; and for the account itself.
        for (application, is_for_account) in [(Some(application), false), (None, false), (None, true)] {
            views.push(LoginView {
                action: text.to_owned(),
                csrf: text.to_owned(),
                application,
                is_for_account,
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
        tools: vec![OneLine::name(text); 2 * usize::from(checked)],
        more_tools: 7 * usize::from(checked),
        includes: vec![OneLine::long(text); 2 * usize::from(checked)],
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
                    acquaintance: Acquaintance {
                        is_first_time: offline_access.is_some(),
                        first_seen_seconds_ago: offline_access.map(|_| 240),
                        changed_seconds_ago: problem.map(|_| 172_800),
                    },
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
                host: Some(OneLine::long(text)),
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

/// A row of the list of applications for each kind of client, with much and with little beneath.
fn app_views(text: &str) -> Vec<AppView> {
    let resources = consents(text).swap_remove(0).resources;
    let grant = |last_used, is_active| GrantView {
        resources: resources.clone(),
        allowed_seconds_ago: 900_000,
        last_used,
        offline_access: is_active,
        is_active,
    };
    let used = |address| LastUseView {
        seconds_ago: 180,
        address,
    };
    applications(text)
        .into_iter()
        .enumerate()
        .map(|(number, application)| AppView {
            application,
            shares_its_name: number % 2 == 0,
            disconnect: "/tenant/ui/apps/disconnect?client=x".to_owned(),
            grants: vec![
                grant(Some(used(Some(OneLine::name(text)))), true),
                grant(Some(used(None)), false),
                grant(None, false),
            ],
            more_grants: number,
        })
        .collect()
}

fn somebody(text: &str) -> Account {
    Account {
        username: OneLine::name(text),
        display_name: None,
        is_admin: false,
    }
}

/// The list of applications: none, some, and one page of many.
pub(super) fn apps(text: &str) -> Vec<AppsView> {
    let neighbour = || Some("/tenant/ui/apps?page=2".to_owned());
    [
        (false, 0, None, None),
        (true, 1, None, None),
        (false, 3, None, neighbour()),
        (true, 3, neighbour(), None),
    ]
    .into_iter()
    .map(|(has_disconnected, pages, newer, older)| AppsView {
        account: somebody(text),
        apps: if pages == 0 { Vec::new() } else { app_views(text) },
        total: 60,
        is_cut: pages > 1,
        paging: Paging {
            page: pages,
            pages,
            newer,
            older,
        },
        has_disconnected,
    })
    .collect()
}

/// The question before an application is disconnected.
pub(super) fn disconnects(text: &str) -> Vec<DisconnectView> {
    let minutes = [None, Some(1), Some(10)];
    app_views(text)
        .into_iter()
        .zip(minutes.into_iter().cycle())
        .map(|(app, minutes_at_most)| DisconnectView {
            action: text.to_owned(),
            csrf: text.to_owned(),
            client: text.to_owned(),
            account: somebody(text),
            app,
            minutes_at_most,
        })
        .collect()
}

/// The question before signing out everywhere.
pub(super) fn sign_outs(text: &str) -> Vec<SignOutEverywhereView> {
    [0, 1, 12]
        .map(|apps| SignOutEverywhereView {
            action: text.to_owned(),
            csrf: text.to_owned(),
            account: somebody(text),
            apps,
        })
        .into()
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
