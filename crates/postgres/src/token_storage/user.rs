//! The column `user_id`, which is integer, bigint, uuid or text, to the operator's liking.

use std::error::Error;

use bytes::BytesMut;
use mcp_authflow::port::token_storage::{TokenStorageError, TokenStorageResult, UserId};
use mcp_authflow_types::hex;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A user as the column keeps it.
#[derive(Debug)]
pub(super) struct SqlUser(pub(super) Option<UserId>);

/// Whether the column keeps text of any length.
fn is_text(column: &Type) -> bool {
    <&str as ToSql>::accepts(column)
}

/// Reads a UUID as people write it: 32 hexadecimal digits, with hyphens or without.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|one| *one != '-').collect();
    hex::decode(&digits.to_ascii_lowercase())
}

fn print_uuid(bytes: [u8; 16]) -> String {
    let digits = hex::encode(&bytes);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// Whether a column of this type can keep the user as what it is.
pub(super) fn check(user: &UserId, column: &Type) -> TokenStorageResult<()> {
    let fits = match user {
        UserId::Integer(id) => match *column {
            Type::INT2 => i16::try_from(*id).is_ok(),
            Type::INT4 => i32::try_from(*id).is_ok(),
            Type::INT8 => true,
            _ => false,
        },
        UserId::Text(id) if *column == Type::UUID => parse_uuid(id).is_some(),
        UserId::Text(id) => is_text(column) && !id.contains('\0'),
    };
    if fits {
        return Ok(());
    }
    Err(TokenStorageError::InvalidArgument(format!(
        "user_id {user:?} does not fit the column user_id, which is {}",
        column.name()
    )))
}

impl ToSql for SqlUser {
    fn to_sql(&self, column: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(UserId::Integer(id)) => match *column {
                Type::INT2 => i16::try_from(*id)?.to_sql(column, out),
                Type::INT4 => i32::try_from(*id)?.to_sql(column, out),
                _ => id.to_sql(column, out),
            },
            Some(UserId::Text(id)) if *column == Type::UUID => {
                out.extend_from_slice(&parse_uuid(id).ok_or("no UUID")?);
                Ok(IsNull::No)
            }
            Some(UserId::Text(id)) => id.to_sql(column, out),
        }
    }

    /// Any: `check` has compared them with a better answer.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for SqlUser {
    fn from_sql(column: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Some(match *column {
            Type::INT2 => UserId::Integer(i16::from_sql(column, raw)?.into()),
            Type::INT4 => UserId::Integer(i32::from_sql(column, raw)?.into()),
            Type::INT8 => UserId::Integer(i64::from_sql(column, raw)?),
            Type::UUID => UserId::Text(print_uuid(raw.try_into()?)),
            _ => UserId::Text(String::from_sql(column, raw)?),
        })))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(column: &Type) -> bool {
        [Type::INT2, Type::INT4, Type::INT8, Type::UUID].contains(column) || is_text(column)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_uuid_is_read_as_people_write_it_and_printed_as_one() {
        let text = "3f0c0a6e-0000-4000-8000-00000000000a";
        let bytes = parse_uuid(text).unwrap();
        assert_eq!(print_uuid(bytes), text);
        assert_eq!(parse_uuid(&text.to_uppercase()), Some(bytes));
        assert_eq!(parse_uuid(&text.replace('-', "")), Some(bytes));
        for bad in ["", "42", "3f0c0a6e-0000-4000-8000-00000000000", "u"] {
            assert_eq!(parse_uuid(bad), None, "{bad}");
        }
    }
}
