//! Typed claims (RFC 7519 §4): a claim of the wrong type is an error, never the same as one that is absent.

use std::time::Duration;

use mcp_authflow_types::Timestamp;
use serde_json::{Map, Value};

/// A point in time as a token states it (RFC 7519 §2): a JSON number of seconds, which may have a fraction. Kept in
/// milliseconds, what is finer is cut off.
///
/// ```
/// use mcp_authflow_jose::NumericDate;
/// use mcp_authflow_types::Timestamp;
///
/// let noon = NumericDate::from(Timestamp::from_seconds(1_800_000_000));
/// assert!(noon < NumericDate::parse(&1_800_000_000.5.into()).unwrap());
/// assert_eq!(NumericDate::parse(&"1800000000".into()), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate {
    milliseconds: i64,
}

/// Beyond the year 9999, either way, a number is no time: it is milliseconds by mistake, or an attack on arithmetic.
const MOST_SECONDS: i64 = 253_402_300_799;

impl NumericDate {
    /// Reads a JSON number; `None` for anything else, and for what is no time.
    pub fn parse(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        if let Some(seconds) = number.as_i64() {
            return (seconds.unsigned_abs() <= MOST_SECONDS.unsigned_abs())
                .then(|| Self::from_seconds(seconds));
        }
        let seconds = number.as_f64()?;
        #[expect(clippy::cast_precision_loss, reason = "twelve digits are exact in a double")]
        let most = MOST_SECONDS as f64;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "finer than milliseconds is cut off, and larger was refused"
        )]
        (seconds.abs() <= most).then_some(Self {
            milliseconds: (seconds * 1000.0) as i64,
        })
    }

    const fn from_seconds(seconds: i64) -> Self {
        Self {
            milliseconds: seconds.saturating_mul(1000),
        }
    }

    /// The same with the fraction cut off, toward the epoch.
    #[must_use]
    pub const fn whole(self) -> Self {
        Self::from_seconds(self.milliseconds / 1000)
    }

    /// The first whole second that is not before it.
    pub const fn round_up(self) -> Timestamp {
        Timestamp::from_seconds(
            self.milliseconds.div_euclid(1000) + (self.milliseconds.rem_euclid(1000) != 0) as i64,
        )
    }

    /// The last whole second that is not after it.
    pub const fn round_down(self) -> Timestamp {
        Timestamp::from_seconds(self.milliseconds.div_euclid(1000))
    }
}

impl From<Timestamp> for NumericDate {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_seconds(timestamp.seconds())
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl std::ops::Add<Duration> for NumericDate {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            milliseconds: self.milliseconds.saturating_add(milliseconds(duration)),
        }
    }
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is not there, or null.
    #[error("the claim `{0}` is missing")]
    Missing(&'static str),
    /// It is there and of another type than it should be.
    #[error("the claim `{0}` has the wrong type")]
    WrongType(&'static str),
}

/// The claims of a token: a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Takes the members of an object.
    pub const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// All claims, as they stand.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A claim as it stands.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A text; `None` when it is not there.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`], also for null.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, ClaimError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimError::WrongType(name)),
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// [`ClaimError`]
    pub fn required_text(&self, name: &'static str) -> Result<&str, ClaimError> {
        self.text(name)?.ok_or(ClaimError::Missing(name))
    }

    /// A time; `None` when it is not there.
    ///
    /// # Errors
    /// [`ClaimError::WrongType`], also for null and for numbers that are no time.
    pub fn time(&self, name: &'static str) -> Result<Option<NumericDate>, ClaimError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => NumericDate::parse(value)
                .map(Some)
                .ok_or(ClaimError::WrongType(name)),
        }
    }

    /// A time that has to be there.
    ///
    /// # Errors
    /// [`ClaimError`]
    pub fn required_time(&self, name: &'static str) -> Result<NumericDate, ClaimError> {
        self.time(name)?.ok_or(ClaimError::Missing(name))
    }

    /// Whom it is for (RFC 7519 §4.1.3): one text, or a list of them.
    ///
    /// # Errors
    /// [`ClaimError::Missing`] when it names nobody; [`ClaimError::WrongType`].
    pub fn audience(&self) -> Result<Vec<&str>, ClaimError> {
        const NAME: &str = "aud";
        let audience = match self.0.get(NAME) {
            None | Some(Value::Null) => return Err(ClaimError::Missing(NAME)),
            Some(Value::String(one)) if one.is_empty() => return Err(ClaimError::Missing(NAME)),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(all)) => all
                .iter()
                .map(|one| one.as_str().ok_or(ClaimError::WrongType(NAME)))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(ClaimError::WrongType(NAME)),
        };
        if audience.is_empty() {
            return Err(ClaimError::Missing(NAME));
        }
        Ok(audience)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(members) = value else {
            panic!("no object")
        };
        Claims::new(members)
    }

    /// CVE-2026-25537: a claim of the wrong type was taken for an absent one.
    #[test]
    fn a_claim_of_the_wrong_type_is_not_an_absent_one() {
        let claims = claims(json!({"sub": ["a"], "nbf": "9999999999", "exp": null, "iat": true}));
        assert_eq!(claims.text("sub"), Err(ClaimError::WrongType("sub")));
        for name in ["nbf", "exp", "iat"] {
            assert_eq!(claims.time(name), Err(ClaimError::WrongType(name)));
        }
        assert_eq!(claims.time("auth_time"), Ok(None));
        assert_eq!(
            claims.required_time("auth_time"),
            Err(ClaimError::Missing("auth_time"))
        );
    }

    #[test]
    fn an_audience_is_text_or_a_list_of_text() {
        let read = |aud| claims(json!({"aud": aud})).audience().map(|all| all.join(" "));
        assert_eq!(read(json!("a")), Ok("a".to_owned()));
        assert_eq!(read(json!(["a", "b"])), Ok("a b".to_owned()));
        for nobody in [json!(""), json!([]), json!(null)] {
            assert_eq!(read(nobody), Err(ClaimError::Missing("aud")));
        }
        for wrong in [
            json!(5),
            json!(true),
            json!({"a": "b"}),
            json!(["a", 5]),
            json!([["a"]]),
        ] {
            assert_eq!(read(wrong), Err(ClaimError::WrongType("aud")));
        }
    }

    #[test]
    fn only_a_number_within_reason_is_a_time() {
        let read = |value: Value| NumericDate::parse(&value).map(|date| date.milliseconds);
        assert_eq!(read(json!(1_800_000_000)), Some(1_800_000_000_000));
        assert_eq!(read(json!(1_800_000_000.75)), Some(1_800_000_000_750));
        assert_eq!(read(json!(-1)), Some(-1000));
        for wrong in [
            json!(1e20),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(253_402_300_800_i64),
            json!("1"),
            json!([1]),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn a_fraction_is_cut_toward_the_epoch_and_rounded_either_way() {
        let date = |seconds: f64| NumericDate::parse(&json!(seconds)).unwrap();
        assert_eq!(date(5.9).whole(), date(5.0));
        assert_eq!(date(-5.9).whole(), date(-5.0));
        assert_eq!(date(5.1).round_up(), Timestamp::from_seconds(6));
        assert_eq!(date(5.0).round_up(), Timestamp::from_seconds(5));
        assert_eq!(date(5.9).round_down(), Timestamp::from_seconds(5));
        assert_eq!(date(-5.5).round_down(), Timestamp::from_seconds(-6));
    }
}
