//! Lists of tools, prompts and resources that show a caller what is within their reach, marked as theirs alone
//! (MCP 2026-07-28, *Caching*; M-133).
//!
//! Only the list is taken apart: whatever stands in an entry, and the order of everything, stays as the server wrote it.

use std::fmt;

use mcp_authflow_types::Scope;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::policy::ToolPolicy;
use crate::json_rpc::JsonRpc;

/// A list: where its entries stand in the result, what names one, and the method that uses it.
struct ListKind {
    asked_by: &'static str,
    member: &'static str,
    /// The member as it stands in JSON, to look for before anything is parsed.
    marker: &'static [u8],
    named_by: &'static str,
    used_by: &'static str,
}

const LISTS: [ListKind; 3] = [
    ListKind {
        asked_by: "tools/list",
        member: "tools",
        marker: b"\"tools\"",
        named_by: "name",
        used_by: "tools/call",
    },
    ListKind {
        asked_by: "prompts/list",
        member: "prompts",
        marker: b"\"prompts\"",
        named_by: "name",
        used_by: "prompts/get",
    },
    ListKind {
        asked_by: "resources/list",
        member: "resources",
        marker: b"\"resources\"",
        named_by: "uri",
        used_by: "resources/read",
    },
];

/// Leaves out of answers what one caller may not use.
#[derive(Clone, Debug)]
pub(super) struct ListFilter {
    policy: ToolPolicy,
    held: Scope,
    /// A list was asked for; otherwise any answer may come, as on a stream that was opened by GET. The ids of the requests
    /// are not looked at: servers spell them anew, 1.0 as 1 and some `"1"` too.
    expects_one: bool,
}

impl ListFilter {
    /// For the answer to `message`, when it asks for a list.
    pub(super) fn for_answer_to(message: &JsonRpc, policy: &ToolPolicy, held: &Scope) -> Option<Self> {
        let asks = |method: &str| LISTS.iter().any(|list| list.asked_by == method);
        message
            .calls()
            .iter()
            .any(|call| asks(call.method()))
            .then(|| Self {
                expects_one: true,
                ..Self::for_any_answer(policy, held)
            })
    }

    /// For a stream on which answers to earlier requests may come.
    pub(super) fn for_any_answer(policy: &ToolPolicy, held: &Scope) -> Self {
        Self {
            policy: policy.clone(),
            held: held.clone(),
            expects_one: false,
        }
    }

    /// Whether a list is sure to come.
    pub(super) fn expects_one(&self) -> bool {
        self.expects_one
    }

    /// Whether there may be a list in this piece of JSON. Cheap; what it misses is only shown, and not allowed.
    pub(super) fn may_be_in(json: &[u8]) -> bool {
        LISTS
            .iter()
            .any(|list| memchr::memmem::find(json, list.marker).is_some())
    }

    /// The JSON with its lists cut down; `None` when it may stay as it is.
    pub(super) fn cut(&self, json: &[u8]) -> Option<String> {
        let json = std::str::from_utf8(json)
            .ok()
            .filter(|json| Self::may_be_in(json.as_bytes()))?;
        if !json.trim_start().starts_with('[') {
            return self.cut_message(json);
        }
        let messages: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let cut: Vec<_> = messages
            .iter()
            .map(|message| self.cut_message(message.get()))
            .collect();
        cut.iter().any(Option::is_some).then(|| {
            let messages = messages.iter().zip(cut);
            let texts: Vec<_> = messages
                .map(|(message, cut)| cut.unwrap_or_else(|| message.get().to_owned()))
                .collect();
            format!("[{}]", texts.join(","))
        })
    }

    fn cut_message(&self, json: &str) -> Option<String> {
        let mut message: Members<'_> = serde_json::from_str(json).ok()?;
        let result = self.cut_result(message.member("result")?)?;
        message.set("result", result);
        Some(message.to_string())
    }

    fn cut_result(&self, json: &str) -> Option<String> {
        let mut result: Members<'_> = serde_json::from_str(json).ok()?;
        let mut has_list = false;
        for list in &LISTS {
            let entries = result
                .member(list.member)
                .map(serde_json::from_str::<Vec<&RawValue>>);
            let Some(Ok(entries)) = entries else {
                continue;
            };
            has_list = true;
            let all = entries.len();
            let kept: Vec<_> = entries
                .into_iter()
                .filter(|entry| self.shows(list, entry))
                .map(RawValue::get)
                .collect();
            if kept.len() < all {
                let kept = format!("[{}]", kept.join(","));
                result.set(list.member, kept);
            }
        }
        // The list depends on who asks, whether or not anything was left out this time.
        has_list.then(|| {
            result.set("cacheScope", r#""private""#.to_owned());
            result.to_string()
        })
    }

    fn shows(&self, list: &ListKind, entry: &RawValue) -> bool {
        let entry: Option<Members<'_>> = serde_json::from_str(entry.get()).ok();
        let name = entry
            .as_ref()
            .and_then(|entry| entry.member(list.named_by))
            .and_then(|name| serde_json::from_str::<String>(name).ok());
        // What has no name cannot be called.
        name.is_none_or(|name| self.policy.may_see(list.used_by, &name, &self.held))
    }
}

/// The members of an object in their order, values as they were written.
struct Members<'a>(Vec<(String, Text<'a>)>);

enum Text<'a> {
    Theirs(&'a RawValue),
    Ours(String),
}

impl Text<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Theirs(raw) => raw.get(),
            Self::Ours(text) => text,
        }
    }
}

impl Members<'_> {
    fn member(&self, name: &str) -> Option<&str> {
        let member = self.0.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, json: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = Text::Ours(json),
            None => self.0.push((name.to_owned(), Text::Ours(json))),
        }
    }
}

impl fmt::Display for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", Value::from(name.as_str()), value.as_str())?;
        }
        f.write_str("}")
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, Text::Theirs(value)));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::rule::Rule, *};

    fn filter(body: &str) -> ListFilter {
        let policy = ToolPolicy::builder()
            .rule(Rule::tool("write*").requires("write"))
            .rule(Rule::method("prompts/get").named("p2").requires("write"))
            .rule(
                Rule::method("resources/read")
                    .named("file:///etc/*")
                    .requires("write"),
            )
            .build()
            .unwrap();
        let message = JsonRpc::parse(body.as_bytes()).unwrap();
        ListFilter::for_answer_to(&message, &policy, &Scope::parse("read").unwrap()).unwrap()
    }

    fn cut(asked: &str, answer: &str) -> Option<String> {
        filter(&format!(r#"{{"id":1,"method":"{asked}"}}"#)).cut(answer.as_bytes())
    }

    /// M-133
    #[test]
    fn a_list_loses_what_is_out_of_reach_and_is_private() {
        let answer = r#"{"jsonrpc":"2.0","result":{"tools":[ {"name":"write_x"},{"z":1.50,"name":"read","a":12345678901234567890123}, {"name":"wri"}],
            "nextCursor":"c","cacheScope":"public","ttlMs":5},"id":1}"#;
        assert_eq!(
            cut("tools/list", answer).unwrap(),
            r#"{"jsonrpc":"2.0","result":{"tools":[{"z":1.50,"name":"read","a":12345678901234567890123},{"name":"wri"}],"nextCursor":"c","cacheScope":"private","ttlMs":5},"id":1}"#
        );
        let prompts = r#"{"id":1,"result":{"prompts":[{"name":"p1"},{"name":"p2"}]}}"#;
        assert_eq!(
            cut("prompts/list", prompts).unwrap(),
            r#"{"id":1,"result":{"prompts":[{"name":"p1"}],"cacheScope":"private"}}"#
        );
        let resources = r#"{"id":1,"result":{"resources":[{"uri":"file:///etc/a"},{"uri":"file:///srv/a","name":"file:///etc/a"}]}}"#;
        assert_eq!(
            cut("resources/list", resources).unwrap(),
            r#"{"id":1,"result":{"resources":[{"uri":"file:///srv/a","name":"file:///etc/a"}],"cacheScope":"private"}}"#
        );
    }

    /// M-133: also when the caller sees all of it today.
    #[test]
    fn a_list_that_depends_on_the_caller_is_private_even_when_whole() {
        let answer = r#"{"id":1,"result":{"tools":[{"name":"read"}]}}"#;
        assert_eq!(
            cut("tools/list", answer).unwrap(),
            r#"{"id":1,"result":{"tools":[{"name":"read"}],"cacheScope":"private"}}"#
        );
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for other in [
            r#"{"id":1,"error":{"code":1,"message":"\"tools\""}}"#,
            r#"{"method":"notifications/tools/list_changed","params":{"tools":[]}}"#,
            r#"{"id":1,"result":{"tools":"none"}}"#,
            r#"{"id":1,"result":{"tools":[{"name":"write"}]"#,
            "",
        ] {
            assert_eq!(cut("tools/list", other), None, "{other}");
        }
        let no_list = JsonRpc::parse(br#"{"id":1,"method":"tools/call","params":{"name":"tools"}}"#).unwrap();
        assert!(ListFilter::for_answer_to(&no_list, &ToolPolicy::default(), &Scope::empty()).is_none());
    }

    /// M-133: servers answer `"1"` with 1 and 1.0 with 1, and some answer what asks for no answer: whatever id a list
    /// comes with, it is cut.
    #[test]
    fn no_spelling_of_an_id_gets_a_list_uncut() {
        let answer = r#"{"id":1,"result":{"tools":[{"name":"write"}]}}"#;
        for id in [
            r#""id":"1","#,
            r#""id":1.0,"#,
            r#""id":1e0,"#,
            r#""id":null,"#,
            "",
        ] {
            let cut = filter(&format!(r#"{{{id}"method":"tools/list"}}"#)).cut(answer.as_bytes());
            let expected = r#"{"id":1,"result":{"tools":[],"cacheScope":"private"}}"#;
            assert_eq!(cut.as_deref(), Some(expected), "{id}");
        }
    }

    #[test]
    fn each_list_of_a_batch_is_cut() {
        let filter = filter(
            r#"[{"id":1,"method":"tools/list"},{"id":"b","method":"tools/list"},{"id":3,"method":"ping"}]"#,
        );
        let answer = r#"[{"id":3,"result":{}}, {"id":"b","result":{"tools":[{"name":"write"}]}},{"id":1,"result":{"tools":[]}}]"#;
        assert_eq!(
            filter.cut(answer.as_bytes()).unwrap(),
            r#"[{"id":3,"result":{}},{"id":"b","result":{"tools":[],"cacheScope":"private"}},{"id":1,"result":{"tools":[],"cacheScope":"private"}}]"#
        );
    }
}
