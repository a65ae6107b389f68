//! `authflow user add|list|sign-out|disable|enable|set-password`.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::Subcommand;
use mcp_authflow::{
    port::{Audit as _, AuditEvent, AuditOutcome, Clock as _, Entropy, audit::AuditAction, store::AddUser},
    record::{User, UserId},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Output, Refused,
    output::{moment, table},
    warn_of_old_tokens,
};
use crate::{
    audit_trail::AuditTrail,
    config::Config,
    login::{password, username},
    system::{SystemClock, SystemEntropy},
    wire::Opened,
};

#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Add an account; the password is asked for
    #[command(
        after_help = "Examples:\n  authflow user add alice --admin\n  printf '%s' \"$PASSWORD\" | authflow user add bob --password-stdin"
    )]
    Add {
        /// The name to sign in with
        name: String,
        /// What the person is called
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Let the account administer the server
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List accounts
    List,
    /// Sign an account out everywhere: its sessions, grants and tokens stop at once; it may sign in again
    SignOut {
        /// The account
        name: String,
    },
    /// Disable an account: its sessions, grants and tokens stop at once and do not come back
    Disable {
        /// The account
        name: String,
    },
    /// Enable a disabled account
    Enable {
        /// The account
        name: String,
    },
    /// Set an account's password; its sessions end
    SetPassword {
        /// The account
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
}

impl UserVerb {
    pub(super) async fn run(self, opened: &Opened, config: &Config, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Add {
                name,
                display_name,
                admin,
                password_stdin,
            } => add(opened, output, &name, display_name, admin, password_stdin).await,
            Self::List => list(opened, output).await,
            Self::SignOut { name } => {
                sign_out(opened, output, &name).await?;
                warn_of_old_tokens(
                    config,
                    "they are good at the old program, and here when they are presented; delete the user's rows there \
                     (for an end here only: run authflow import, then this again)",
                );
                Ok(())
            }
            Self::Disable { name } => {
                set_disabled(opened, output, &name, true).await?;
                warn_of_old_tokens(
                    config,
                    "they are good at the old program, and here once the account is enabled again (where \
                     import.user_map does not name the account: at once); delete the user's rows there",
                );
                Ok(())
            }
            Self::Enable { name } => set_disabled(opened, output, &name, false).await,
            Self::SetPassword { name, password_stdin } => {
                set_password(opened, output, &name, password_stdin).await
            }
        }
    }
}

async fn add(
    opened: &Opened,
    output: Output,
    name: &str,
    display_name: Option<String>,
    is_admin: bool,
    password_stdin: bool,
) -> anyhow::Result<()> {
    let username = username::normalize(name)?;
    let password = read_password(password_stdin)?;
    password::check_length(&password)?;
    let user = User {
        id: UserId::from_random((&SystemEntropy as &dyn Entropy).draw()),
        username,
        display_name,
        password_hash: password::hash(&password)?,
        is_admin,
        created_at: SystemClock.now(),
        disabled_at: None,
    };
    match opened.accounts.add_user(&user, false).await? {
        AddUser::Added => {}
        AddUser::Taken | AddUser::NotTheFirst => {
            return Err(Refused(format!("the name \"{}\" is taken", user.username)).into());
        }
    }
    note(&user.id, "added");
    output.print(
        &json!({ "id": user.id.as_str(), "username": user.username, "admin": is_admin }),
        &format!("added {}", user.username),
    )
}

async fn list(opened: &Opened, output: Output) -> anyhow::Result<()> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.username.clone());
        let page = opened.accounts.list_users(after.as_deref(), 500).await?;
        if page.is_empty() {
            break;
        }
        users.extend(page);
    }
    let value = users
        .iter()
        .map(|user| {
            json!({
                "id": user.id.as_str(),
                "username": user.username,
                "display_name": user.display_name,
                "admin": user.is_admin,
                "created_at": user.created_at,
                "disabled_at": user.disabled_at,
            })
        })
        .collect::<Vec<_>>();
    let rows = users
        .iter()
        .map(|user| {
            let standing = match (user.disabled_at, user.is_admin) {
                (Some(_), _) => "disabled",
                (None, true) => "administrator",
                (None, false) => "",
            };
            vec![
                user.username.clone(),
                standing.to_owned(),
                moment(user.created_at),
            ]
        })
        .collect::<Vec<_>>();
    output.print(&value.into(), &table(&["USERNAME", "STANDING", "CREATED"], &rows))
}

async fn sign_out(opened: &Opened, output: Output, name: &str) -> anyhow::Result<()> {
    let username = username::normalize(name)?;
    let user = load(opened, &username).await?;
    opened.store.revoke_subject(user.id.as_str()).await?;
    note_as(
        &user.id,
        AuditAction::SignOut,
        "signed out everywhere by the operator",
    );
    output.print(
        &json!({ "username": username, "signed_out": true }),
        &format!("signed {username} out; sessions, grants and tokens have ended"),
    )
}

async fn set_disabled(opened: &Opened, output: Output, name: &str, disabled: bool) -> anyhow::Result<()> {
    let username = username::normalize(name)?;
    let user = load(opened, &username).await?;
    opened
        .accounts
        .set_user_disabled(&username, disabled, SystemClock.now())
        .await?;
    let done = if disabled { "disabled" } else { "enabled" };
    note(&user.id, done);
    output.print(
        &json!({ "username": username, "disabled": disabled }),
        &format!("{done} {username}"),
    )
}

async fn set_password(
    opened: &Opened,
    output: Output,
    name: &str,
    password_stdin: bool,
) -> anyhow::Result<()> {
    let username = username::normalize(name)?;
    let user = load(opened, &username).await?;
    let password = read_password(password_stdin)?;
    password::check_length(&password)?;
    opened
        .accounts
        .set_user_password(&user.id, &password::hash(&password)?)
        .await?;
    note(&user.id, "the password was set");
    output.print(
        &json!({ "username": username }),
        &format!("set the password of {username}; its sessions have ended"),
    )
}

/// Finds an account by the name that its owner types.
pub(super) async fn find(opened: &Opened, name: &str) -> anyhow::Result<User> {
    load(opened, &username::normalize(name)?).await
}

async fn load(opened: &Opened, username: &str) -> anyhow::Result<User> {
    opened.accounts.load_user(username).await?.ok_or_else(|| {
        Refused(format!(
            "there is no account \"{username}\"; see authflow user list"
        ))
        .into()
    })
}

/// Notes what was done to an account.
pub(crate) fn note(user: &UserId, what: &'static str) {
    note_as(user, AuditAction::Account, what);
}

fn note_as(user: &UserId, action: AuditAction, what: &'static str) {
    AuditTrail.record(&AuditEvent::new(action, AuditOutcome::Allowed, what).with_subject(user.as_str()));
}

/// Reads a password: typed twice without being shown, or one line of standard input.
fn read_password(from_stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if from_stdin {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin()
            .lock()
            .read_line(&mut line)
            .context("cannot read the password")?;
        return Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .context("cannot ask for the password: there is no terminal, so say --password-stdin")
    };
    let password = ask("Password: ")?;
    if *ask("Again: ")? == *password {
        Ok(password)
    } else {
        Err(Refused("the two passwords differ".to_owned()).into())
    }
}
