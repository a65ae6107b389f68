//! The closed sets of registered values. Metadata lists are built from `ALL`, so they cannot drift from the code.

/// Declares an enum of registered values with `ALL`, `as_str`, `parse` and serde by that spelling.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value that is built.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The registered spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Finds the value by its registered spelling, case by case.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|one| one.as_str()).collect();
                    serde::de::Error::custom(format!("`{text}` is not one of {}", known.join(", ")))
                })
            }
        }
    };
}

closed_set! {
    /// `grant_type` values (RFC 6749 §4) that the server can run.
    GrantType {
        /// RFC 6749 §4.1: a person approves in a browser.
        AuthorizationCode = "authorization_code",
        /// RFC 6749 §6: stay signed in.
        RefreshToken = "refresh_token",
        /// RFC 6749 §4.4: a machine acts for itself.
        ClientCredentials = "client_credentials",
        /// RFC 8628 §3.4: a person approves on another device.
        DeviceCode = "urn:ietf:params:oauth:grant-type:device_code",
    }
}

closed_set! {
    /// `token_endpoint_auth_method` values (RFC 7591 §2): how a client proves who it is.
    TokenEndpointAuthMethod {
        /// A public client: nothing is proven; PKCE ties its requests together.
        None = "none",
        /// RFC 6749 §2.3.1: identifier and secret in the `Authorization` header.
        ClientSecretBasic = "client_secret_basic",
        /// RFC 6749 §2.3.1: identifier and secret in the body.
        ClientSecretPost = "client_secret_post",
        /// RFC 7523 §2.2: an assertion signed with a key whose public half the client registered.
        PrivateKeyJwt = "private_key_jwt",
    }
}

impl TokenEndpointAuthMethod {
    /// Whether the client proves itself with a secret that the server shares.
    pub const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

closed_set! {
    /// `response_type` values (RFC 6749 §3.1.1).
    ResponseType {
        /// The authorization code.
        Code = "code",
    }
}

closed_set! {
    /// `response_mode` values (OAuth 2.0 Multiple Response Types §2.1).
    ResponseMode {
        /// Answers ride in the query of the redirect URI.
        Query = "query",
    }
}

closed_set! {
    /// `code_challenge_method` values (RFC 7636 §4.3) that the server accepts.
    CodeChallengeMethod {
        /// SHA-256 of the verifier, base64url.
        S256 = "S256",
    }
}

closed_set! {
    /// `prompt` values (OpenID Connect Core §3.1.2.1). `select_account` shows the sign-in page, as `login` does.
    Prompt {
        /// Show nothing: answer from what is known, or with an error.
        None = "none",
        /// Ask for the password again.
        Login = "login",
        /// Ask for approval again.
        Consent = "consent",
        /// Let the person choose another account.
        SelectAccount = "select_account",
    }
}

closed_set! {
    /// `application_type` values (OpenID Connect Dynamic Client Registration §2; asked for by MCP 2026-07-28).
    ApplicationType {
        /// Runs in a browser or on a server: https redirects.
        Web = "web",
        /// Runs on the person's device: loopback or private-use scheme redirects.
        Native = "native",
    }
}

closed_set! {
    /// `token_type_hint` values (RFC 7009 §2.1): a hint and no more.
    TokenTypeHint {
        /// Try access tokens first.
        AccessToken = "access_token",
        /// Try refresh tokens first.
        RefreshToken = "refresh_token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_by_its_own_spelling_and_by_no_other() {
        for grant in GrantType::ALL {
            assert_eq!(GrantType::parse(grant.as_str()), Some(*grant));
            assert_eq!(GrantType::parse(&grant.as_str().to_uppercase()), None);
        }
        for prompt in Prompt::ALL {
            assert_eq!(Prompt::parse(prompt.as_str()), Some(*prompt));
        }
        assert_eq!(CodeChallengeMethod::parse("plain"), None);
    }
}
