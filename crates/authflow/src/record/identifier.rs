//! Identifiers of records: 128 random bits, 32 hexadecimal digits as text. Not secrets, fit for logs and addresses.

/// Declares an identifier.
macro_rules! random_identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes an identifier from 128 random bits, or takes a stored one back.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The identifier, for a store.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Reads the 32 hexadecimal digits that `Display` prints.
            pub fn parse(text: &str) -> Option<Self> {
                mcp_authflow_types::hex::decode(text).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&mcp_authflow_types::hex::encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

pub(super) use random_identifier;

#[cfg(test)]
mod tests {
    use crate::record::{GrantId, InteractionId};

    #[test]
    fn an_identifier_reads_back_what_it_prints_and_nothing_else() {
        let id = GrantId::from_bytes([0xab; 16]);
        assert_eq!(GrantId::parse(&id.to_string()), Some(id));
        assert_eq!(format!("{id:?}"), format!("GrantId({})", "ab".repeat(16)));
        for bad in [
            String::new(),
            "ab".repeat(15),
            "AB".repeat(16),
            format!("{}zz", "ab".repeat(15)),
        ] {
            assert_eq!(InteractionId::parse(&bad), None, "{bad}");
        }
    }
}
