//! An honest crowd: people and clients that use the server the way it is meant to be used.

pub(crate) mod caller;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const RESOURCE: &str = "http://127.0.0.1:8001/mcp";
pub(crate) const SCOPE: &str = "hello:read";
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:3999/callback";
/// A public client that acts for people.
pub(crate) const APP: &str = "app";
/// A confidential client that acts for itself.
pub(crate) const MACHINE: (&str, &str) = ("machine", "mcpcs_under-load-the-machine-shows-this-secret");
/// The resource server, which may ask about tokens.
pub(crate) const ASKER: (&str, &str) = ("hello-mcp", "mcpcs_under-load-the-resource-shows-this-one");

/// The name of a person.
pub(crate) fn username(task: usize) -> String {
    format!("person{task}")
}

/// The bootstrap file of a server that this crowd uses, with so many people.
pub(crate) fn bootstrap(people: usize) -> String {
    let people: Vec<String> = (0..people)
        .map(|task| {
            format!(
                "[[user]]\nusername = \"{}\"\npassword = \"{PASSWORD}\"\n",
                username(task)
            )
        })
        .collect();
    let people = people.join("\n");
    let (machine, machine_secret) = MACHINE;
    let (asker, asker_secret) = ASKER;
    format!(
        r#"{people}
[[resource]]
uri = "{RESOURCE}"
name = "Under load"
introspection_client_id = "{asker}"
introspection_client_secret = "{asker_secret}"
[[resource.scope]]
name = "{SCOPE}"
description = "Say hello"

[[client]]
client_id = "{APP}"
name = "App"
redirect_uris = ["{REDIRECT_URI}"]
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token"]

[[client]]
client_id = "{machine}"
name = "Machine"
redirect_uris = []
token_endpoint_auth_method = "client_secret_basic"
client_secret = "{machine_secret}"
grant_types = ["client_credentials"]
scope = "{SCOPE}"
resources = ["{RESOURCE}"]
"#
    )
}
