//! What the authorization server says of a token (RFC 7662 §2.2).
//!
//! What decides is strict: `active` is a boolean, audiences are texts, times are numbers; an answer in which one of them
//! is something else is no answer, so nothing follows from it. What can only allow less is lenient, as it was in the
//! Python package: a scope that is none allows nothing, and a member that is null is not there.

use http::{HeaderMap, header};
use mcp_authflow_types::{ClientId, ScopeToken, Timestamp, json::parse_strict};
use serde_json::{Map, Value};

use crate::verify::{CannotCheck, VerifiedToken, VerifyError, scope_as_said};

/// The deepest answer read; `cnf` and `authorization_details` nest three or four deep.
const MAX_DEPTH: usize = 16;
/// Whole numbers up to here are exact in a double; as seconds they last for 285 million years.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Whether the answer says to be JSON (S-230). Without that it may be a page of a proxy or a captive portal.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value.to_str().is_ok_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    })
}

/// Reads an answer.
pub(super) fn read(answer: &[u8]) -> Result<VerifiedToken, VerifyError> {
    let Some(Value::Object(said)) = parse_strict(answer, MAX_DEPTH) else {
        return Err(CannotCheck::BadAnswer.into());
    };
    match said.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(VerifyError::Inactive),
        _ => return Err(CannotCheck::BadAnswer.into()),
    }
    Ok(VerifiedToken {
        subject: text(&said, "sub")?,
        client_id: client_id(&said)?,
        username: text(&said, "username")?,
        scope: scope_as_said(&said)
            .into_iter()
            .filter_map(|token| ScopeToken::parse(token).ok())
            .collect(),
        audience: audience(&said)?,
        resource: None,
        issuer: text(&said, "iss")?,
        token_type: text(&said, "token_type")?,
        expires_at: moment(&said, "exp")?,
        not_before: moment(&said, "nbf")?,
        issued_at: moment(&said, "iat")?,
        is_sender_constrained: said.get("cnf").is_some_and(|cnf| !cnf.is_null()),
        token_id: text(&said, "jti")?,
        claims: said.into(),
    })
}

fn text(said: &Map<String, Value>, name: &str) -> Result<Option<String>, CannotCheck> {
    match said.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(CannotCheck::BadAnswer),
    }
}

/// S-236: a client that is not named is nobody, not one `unknown` for all; and null is not a way of not naming it. A
/// text that is no client id (RFC 6749 Appendix A.1) stays among the claims.
fn client_id(said: &Map<String, Value>) -> Result<Option<ClientId>, CannotCheck> {
    match said.get("client_id") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(ClientId::parse(text).ok()),
        Some(_) => Err(CannotCheck::BadAnswer),
    }
}

/// A JSON number of whole seconds (S-238).
fn moment(said: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, CannotCheck> {
    let seconds = match said.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_i64().or_else(|| value.as_f64().and_then(whole)),
    };
    match seconds {
        Some(seconds) => Ok(Some(Timestamp::from_seconds(seconds))),
        None => Err(CannotCheck::BadAnswer),
    }
}

fn whole(number: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it has no fraction and is in range"
    )]
    (number.fract() == 0.0 && number.abs() <= MOST_EXACT).then_some(number as i64)
}

/// RFC 7519 §4.1.3: one string, or a list of strings (S-235).
fn audience(said: &Map<String, Value>) -> Result<Vec<String>, CannotCheck> {
    let one = |value: &Value| value.as_str().map(str::to_owned).ok_or(CannotCheck::BadAnswer);
    match said.get("aud") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(one).collect(),
        Some(value) => one(value).map(|audience| vec![audience]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use mcp_authflow_types::Scope;

    use super::*;

    const BAD: VerifyError = VerifyError::CannotCheck(CannotCheck::BadAnswer);

    fn of_members(members: &str) -> Result<VerifiedToken, VerifyError> {
        read(format!(r#"{{"active":true,{members}}}"#).as_bytes())
    }

    /// S-239: nothing that was said is lost.
    #[test]
    fn a_full_answer_is_read_in_full() {
        let answer = br#"{"active":true,"scope":"b a","client_id":"c1","username":"alice","token_type":"Bearer",
            "exp":20,"iat":10,"nbf":11,"sub":"u1","aud":["https://rs.test/mcp","x"],"iss":"https://auth.test","jti":"1",
            "cnf":{"jkt":"k"},"tenant":[1]}"#;
        let expected = VerifiedToken {
            subject: Some("u1".to_owned()),
            client_id: ClientId::parse("c1").ok(),
            username: Some("alice".to_owned()),
            scope: Scope::parse("a b").unwrap(),
            audience: vec!["https://rs.test/mcp".to_owned(), "x".to_owned()],
            resource: None,
            issuer: Some("https://auth.test".to_owned()),
            token_type: Some("Bearer".to_owned()),
            expires_at: Some(Timestamp::from_seconds(20)),
            not_before: Some(Timestamp::from_seconds(11)),
            issued_at: Some(Timestamp::from_seconds(10)),
            is_sender_constrained: true,
            token_id: Some("1".to_owned()),
            claims: serde_json::from_slice::<Map<String, Value>>(answer)
                .unwrap()
                .into(),
        };
        assert_eq!(expected.claims["tenant"], serde_json::json!([1]));
        assert_eq!(read(answer), Ok(expected));
    }

    /// S-232, RFC 7662 §2.2: `active` is a boolean, and only the boolean `false` is a no.
    #[test]
    fn an_answer_that_is_none_is_neither_yes_nor_no() {
        assert_eq!(read(br#"{"active":false}"#), Err(VerifyError::Inactive));
        assert_eq!(read(br#"{"active":false,"exp":"x"}"#), Err(VerifyError::Inactive));
        for bad in [
            "",
            "null",
            "[]",
            "<html>active</html>",
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":0}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
            r#"{"active":true,"active":true}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":true}{"active":true}"#,
            r#"{"active":true"#,
            r#"{"error":"invalid_client"}"#,
        ] {
            assert_eq!(read(bad.as_bytes()), Err(BAD), "{bad}");
        }
        let deep = format!(r#"{{"active":true,"x":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
        assert_eq!(read(deep.as_bytes()), Err(BAD));
    }

    /// S-233, S-236, S-238
    #[test]
    fn a_member_of_the_wrong_type_spoils_the_answer() {
        for bad in [
            r#""exp":"20""#,
            r#""exp":20.5"#,
            r#""exp":1e99"#,
            r#""exp":true"#,
            r#""nbf":true"#,
            r#""iat":{}"#,
            r#""sub":1"#,
            r#""client_id":null"#,
            r#""client_id":5"#,
            r#""username":[]"#,
            r#""iss":["https://auth.test"]"#,
            r#""aud":1"#,
            r#""aud":["x",1]"#,
            r#""aud":{"x":"x"}"#,
            r#""token_type":1"#,
            r#""jti":1"#,
        ] {
            assert_eq!(of_members(bad), Err(BAD), "{bad}");
        }
    }

    /// S-236, S-238
    #[test]
    fn what_is_null_or_no_client_id_is_not_there() {
        let token = of_members(
            r#""sub":null,"exp":null,"nbf":null,"aud":null,"cnf":null,"scope":null,"client_id":"é""#,
        )
        .unwrap();
        let says_nothing = VerifiedToken {
            claims: token.claims.clone(),
            ..VerifiedToken::default()
        };
        assert_eq!(token, says_nothing);
        assert_eq!(token.claims["client_id"], "é");
        assert_eq!(
            of_members(r#""exp":20.0"#).unwrap().expires_at,
            Some(Timestamp::from_seconds(20))
        );
    }

    /// S-237: what is no scope token allows nothing.
    #[test]
    fn a_scope_is_read_in_every_form_and_never_widened() {
        for (said, scope) in [
            (r#""a  b a""#, "a b"),
            (r#""a\u00a0b\tc""#, "a b c"),
            (r#""é a \"""#, "a"),
            (r#"["a","b"]"#, "a b"),
            (r#"["a b",1,null,"","c"]"#, "c"),
            (r#""""#, ""),
            ("5", ""),
            (r#"{"a":1}"#, ""),
        ] {
            let token = of_members(&format!(r#""scope":{said}"#)).unwrap();
            assert_eq!(token.scope, Scope::parse(scope).unwrap(), "{said}");
        }
        let token = of_members(r#""scope":"b é a b""#).unwrap();
        assert_eq!(token.scope_as_said(), ["b", "é", "a", "b"]);
    }

    /// S-230
    #[test]
    fn an_answer_is_json_when_it_says_so() {
        let says = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, (*value).parse().unwrap());
            }
            is_json(&headers)
        };
        assert!(says(&["application/json"]) && says(&["Application/JSON ; charset=utf-8"]));
        for bad in [
            "",
            "text/html",
            "application/token-introspection+jwt",
            "application/jsonp",
        ] {
            assert!(!says(&[bad]), "{bad}");
        }
        assert!(!says(&[]) && !says(&["application/json", "application/json"]));
    }
}
