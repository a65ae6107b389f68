//! The three ways in which a client comes by its identity.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::client::Client;

/// A way to an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Registration {
    /// Dynamic client registration (RFC 7591)
    Dcr,
    /// A client ID metadata document
    Cimd,
    /// The operator registered it and handed over id and secret
    Static,
}

impl Registration {
    pub(super) const ALL: &'static [Self] = &[Self::Dcr, Self::Cimd, Self::Static];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Dcr => "DCR",
            Self::Cimd => "CIMD",
            Self::Static => "static",
        }
    }
}

/// What a client knows of itself before it meets the server.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// Nothing; it registers.
    Registers,
    /// Where its metadata document lies.
    Document { url: String },
    /// What the operator gave it.
    Operator {
        client_id: &'static str,
        client_secret: &'static str,
        token_endpoint_auth_method: &'static str,
    },
}

impl Identity {
    /// An identity from the operator, for this client.
    pub(super) fn by_operator(client: Client) -> Self {
        Self::Operator {
            client_id: "known-beforehand",
            client_secret: "mcpcs_the-operator-handed-this-one-over",
            token_endpoint_auth_method: client.static_auth_method(),
        }
    }

    /// What the operator writes into the bootstrap file for it.
    pub(super) fn bootstrap(&self, client: Client) -> String {
        let Self::Operator {
            client_id,
            client_secret,
            token_endpoint_auth_method,
        } = self
        else {
            return String::new();
        };
        let redirect_uri = client.redirect_uri_of_any_port();
        format!(
            r#"
[[client]]
client_id = "{client_id}"
client_secret = "{client_secret}"
name = "Known beforehand"
redirect_uris = ["{redirect_uri}"]
token_endpoint_auth_method = "{token_endpoint_auth_method}"
grant_types = ["authorization_code", "refresh_token"]
"#
        )
    }

    /// Adds it to a driver's options.
    pub(super) fn tell(&self, options: &mut Value) {
        match self {
            Self::Registers => {}
            Self::Document { url } => options["client_metadata_url"] = url.as_str().into(),
            Self::Operator {
                client_id,
                client_secret,
                token_endpoint_auth_method,
            } => {
                options["client"] = json!({
                    "client_id": client_id,
                    "client_secret": client_secret,
                    "token_endpoint_auth_method": token_endpoint_auth_method,
                });
            }
        }
    }

    /// Whether the client went its way and no other.
    pub(super) fn check(&self, client_id: &str) -> Result<()> {
        let is_own = match self {
            Self::Registers => !client_id.starts_with("https:"),
            Self::Document { url } => client_id == url,
            Self::Operator { client_id: given, .. } => client_id == *given,
        };
        ensure!(
            is_own,
            "the client came as {client_id}, but its identity is {self:?}"
        );
        Ok(())
    }
}

/// What its document says, over what every good public client says.
pub(super) fn document(client: Client) -> Value {
    json!({
        "client_name": client.package(),
        "redirect_uris": [client.redirect_uri_of_any_port()],
        "grant_types": ["authorization_code", "refresh_token"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_comes_another_way_than_its_own_is_noticed() {
        let url = "https://127.0.0.1:9443/client.json".to_owned();
        let document = Identity::Document { url: url.clone() };
        assert!(document.check(&url).is_ok());
        assert!(document.check("mcp_registered").is_err());
        assert!(Identity::Registers.check(&url).is_err());
        let operator = Identity::by_operator(Client::Rmcp);
        assert!(operator.check("known-beforehand").is_ok());
        assert!(operator.check("mcp_registered").is_err());
    }
}
