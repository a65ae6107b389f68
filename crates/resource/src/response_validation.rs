//! Checks what a back end behind a tool answered, before the tool hands it to its caller: a list of objects or one object,
//! and otherwise an error that says what was wrong without showing what the back end said.
//!
//! ```
//! use mcp_authflow_resource::response_validation::{ApiResponse, ResponseRules};
//! use serde_json::json;
//!
//! let rules = ResponseRules::new("tasks");
//! let list = rules.list(&ApiResponse::success(json!({"tasks": [{"id": 1}, "stray"]})))?;
//! assert_eq!((list.items.len(), list.dropped), (1, 1));
//!
//! let failed = rules.list(&ApiResponse::failure("db-7.internal: no such table")).unwrap_err();
//! assert_eq!(failed.to_json(), r#"{"error": "Failed to fetch tasks"}"#);
//! # Ok::<(), mcp_authflow_resource::response_validation::InvalidResponse>(())
//! ```

use std::{collections::HashSet, fmt};

use serde_json::{Map, Value};

/// How much of an answer of the wrong shape goes into the debug log.
const MAX_LOGGED_CHARACTERS: usize = 1_000;

/// What a back end answered, as a client of it hands it over.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiResponse {
    /// Whether the call went well.
    pub success: bool,
    /// What went wrong, in the back end's words.
    pub error: Option<String>,
    /// What it answered; null when nothing.
    pub data: Value,
}

impl ApiResponse {
    /// A call that went well.
    pub fn success(data: Value) -> Self {
        Self {
            success: true,
            error: None,
            data,
        }
    }

    /// A call that failed.
    pub fn failure(error: impl Into<String>) -> Self {
        Self {
            success: false,
            error: Some(error.into()),
            data: Value::Null,
        }
    }
}

/// What is expected of an answer, and how much of the back end's own words goes on to the caller.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked before `list` or `object`"]
pub struct ResponseRules {
    context: String,
    key: Option<String>,
    forwarded: Forwarded,
}

#[derive(Clone, Debug)]
enum Forwarded {
    Listed(HashSet<String>),
    All,
}

/// The members of a list that are objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectList {
    /// The objects, in their order.
    pub items: Vec<Map<String, Value>>,
    /// How many members were no objects, and are left out.
    pub dropped: usize,
}

/// Why an answer is not what the tool needs. The text is for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResponse {
    /// The call failed. The text is a generic one, or the back end's own where the rules let it through.
    #[error("{0}")]
    Failed(String),
    /// There is no object although the call went well.
    #[error("No {0} data returned from backend")]
    NoData(String),
    /// An object holds the list under none of the expected names.
    #[error("Backend returned {0} in unexpected format")]
    UnexpectedFormat(String),
    /// Another JSON type than the expected one.
    #[error("Backend returned invalid {context} format: expected {expected}, got {got}")]
    WrongType {
        /// What was asked for.
        context: String,
        /// The type that it should have.
        expected: JsonType,
        /// The type that it has.
        got: JsonType,
    },
}

/// The six types of JSON (RFC 8259 §3), by their names there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum JsonType {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl ResponseRules {
    /// Expects `context`, such as `tasks` or `task`: a word for messages, and the name under which a list is looked for.
    pub fn new(context: impl Into<String>) -> Self {
        Self {
            context: context.into(),
            key: None,
            forwarded: Forwarded::Listed(HashSet::new()),
        }
    }

    /// Looks for the list under this name first. Default: under the context, and the context with an `s`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Lets this error text of the back end's go on to the caller, when it is exactly this; adds up. Default: none, and
    /// the caller reads `Failed to fetch …`.
    pub fn forward_error(mut self, text: impl Into<String>) -> Self {
        if let Forwarded::Listed(listed) = &mut self.forwarded {
            listed.insert(text.into());
        }
        self
    }

    /// Lets every error text of the back end's go on to the caller, as the Python package does.
    ///
    /// # Security
    /// Such texts hold host names, queries, paths and stack traces of the back end.
    pub fn dangerous_forward_all_errors(mut self) -> Self {
        self.forwarded = Forwarded::All;
        self
    }

    /// The objects of a list: the data itself, or a member of it under one of the expected names. No data is an empty list.
    ///
    /// # Errors
    /// [`InvalidResponse`], which is also logged; so is how many members were left out.
    pub fn list(&self, response: &ApiResponse) -> Result<ObjectList, InvalidResponse> {
        self.logged(response, self.find_list(response))
    }

    /// The one object.
    ///
    /// # Errors
    /// [`InvalidResponse`], which is also logged.
    pub fn object<'a>(&self, response: &'a ApiResponse) -> Result<&'a Map<String, Value>, InvalidResponse> {
        self.logged(response, self.find_object(response))
    }

    fn find_list(&self, response: &ApiResponse) -> Result<ObjectList, InvalidResponse> {
        self.succeeded(response)?;
        let found = match &response.data {
            Value::Null => return Ok(ObjectList::default()),
            Value::Object(members) => {
                let plural = format!("{}s", self.context);
                let names = [self.key.as_deref(), Some(&self.context), Some(&plural)];
                let mut names = names.into_iter().flatten().filter(|name| !name.is_empty());
                names
                    .find_map(|name| members.get(name))
                    .ok_or_else(|| InvalidResponse::UnexpectedFormat(self.context.clone()))?
            }
            data => data,
        };
        let Value::Array(members) = found else {
            return Err(self.wrong_type(JsonType::Array, found));
        };
        let items: Vec<_> = members.iter().filter_map(Value::as_object).cloned().collect();
        let dropped = members.len() - items.len();
        if dropped > 0 {
            tracing::warn!(
                context = self.context,
                dropped,
                "members of a list are no objects"
            );
        }
        Ok(ObjectList { items, dropped })
    }

    fn find_object<'a>(&self, response: &'a ApiResponse) -> Result<&'a Map<String, Value>, InvalidResponse> {
        self.succeeded(response)?;
        match &response.data {
            Value::Object(members) => Ok(members),
            Value::Null => Err(InvalidResponse::NoData(self.context.clone())),
            other => Err(self.wrong_type(JsonType::Object, other)),
        }
    }

    fn succeeded(&self, response: &ApiResponse) -> Result<(), InvalidResponse> {
        if response.success {
            return Ok(());
        }
        let error = response.error.as_deref().filter(|error| !error.is_empty());
        let is_forwarded = |error: &&str| match &self.forwarded {
            Forwarded::All => true,
            Forwarded::Listed(listed) => listed.contains(*error),
        };
        Err(InvalidResponse::Failed(match error.filter(is_forwarded) {
            Some(error) => error.to_owned(),
            None => format!("Failed to fetch {}", self.context),
        }))
    }

    fn wrong_type(&self, expected: JsonType, got: &Value) -> InvalidResponse {
        InvalidResponse::WrongType {
            context: self.context.clone(),
            expected,
            got: JsonType::of(got),
        }
    }

    /// The operator reads what the caller does not.
    fn logged<T>(
        &self,
        response: &ApiResponse,
        result: Result<T, InvalidResponse>,
    ) -> Result<T, InvalidResponse> {
        if let Err(error) = &result {
            let said = response.error.as_deref();
            tracing::error!(
                context = self.context,
                said,
                "unusable answer of a back end: {error}"
            );
            if response.success {
                let data: String = response
                    .data
                    .to_string()
                    .chars()
                    .take(MAX_LOGGED_CHARACTERS)
                    .collect();
                tracing::debug!(context = self.context, data, "what it answered");
            }
        }
        result
    }
}

impl InvalidResponse {
    /// The error as the text that a tool answers with: [`json_error`] of it.
    pub fn to_json(&self) -> String {
        json_error(&self.to_string())
    }
}

/// `{"error": "…"}`, in plain ASCII: everything else is escaped, so that it passes through whatever reads it.
///
/// ```
/// use mcp_authflow_resource::response_validation::json_error;
///
/// assert_eq!(json_error("café 🔑"), r#"{"error": "caf\u00e9 \ud83d\udd11"}"#);
/// ```
pub fn json_error(message: &str) -> String {
    use std::fmt::Write as _;

    // A text cannot fail to serialize.
    let quoted = serde_json::to_string(message).unwrap_or_default();
    let mut ascii = String::with_capacity(quoted.len());
    let mut units = [0; 2];
    for character in quoted.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    format!("{{\"error\": {ascii}}}")
}

impl JsonType {
    /// The type of a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// The name that the type has in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    fn list(rules: &ResponseRules, data: Value) -> Result<ObjectList, InvalidResponse> {
        rules.list(&ApiResponse::success(data))
    }

    /// S-298, S-301, S-303
    #[test]
    fn a_list_is_found_under_its_names_and_says_how_many_members_it_lost() {
        let rules = ResponseRules::new("task").key("items");
        for data in [
            json!([{"id": 1}]),
            json!({"items": [{"id": 1}], "task": 5}),
            json!({"task": [{"id": 1}], "tasks": 5}),
            json!({"tasks": [{"id": 1}]}),
        ] {
            assert_eq!(
                list(&rules, data).unwrap().items,
                [json!({"id": 1}).as_object().unwrap().clone()]
            );
        }
        assert_eq!(list(&rules, Value::Null), Ok(ObjectList::default()));
        let mixed = list(&rules, json!([1, {}, null, [], "x", {}])).unwrap();
        assert_eq!((mixed.items.len(), mixed.dropped), (2, 4));
        let elsewhere = list(&rules, json!({"Tasks": [], "": []}));
        assert_eq!(
            elsewhere,
            Err(InvalidResponse::UnexpectedFormat("task".to_owned()))
        );
        assert!(list(&ResponseRules::new(""), json!({"": []})).is_err());
        assert!(list(&ResponseRules::new(""), json!({"s": []})).is_ok());
    }

    /// S-302, S-304
    #[test]
    fn a_wrong_type_is_named_as_json_names_it() {
        let rules = ResponseRules::new("task");
        for (data, name) in [
            (json!("x"), "string"),
            (json!(1), "number"),
            (json!(1.5), "number"),
            (json!(true), "boolean"),
        ] {
            let response = ApiResponse::success(data);
            assert_eq!(
                rules.list(&response).unwrap_err().to_string(),
                format!("Backend returned invalid task format: expected array, got {name}")
            );
            assert_eq!(
                rules.object(&response).unwrap_err().to_string(),
                format!("Backend returned invalid task format: expected object, got {name}")
            );
        }
        let nothing = rules.object(&ApiResponse::success(Value::Null)).unwrap_err();
        assert_eq!(
            nothing.to_json(),
            r#"{"error": "No task data returned from backend"}"#
        );
        let one = ApiResponse::success(json!({"id": 1}));
        assert_eq!(rules.object(&one).unwrap().len(), 1);
    }

    /// S-305, S-306
    #[test]
    fn the_back_ends_own_words_are_shown_only_when_listed() {
        let rules = ResponseRules::new("tasks");
        let failed = |text: &str| ApiResponse::failure(text);
        let shown = |rules: &ResponseRules, text: &str| rules.list(&failed(text)).unwrap_err().to_json();
        let generic = r#"{"error": "Failed to fetch tasks"}"#;
        assert_eq!(shown(&rules, "SELECT * FROM t at 10.0.0.5"), generic);
        let listed = rules.clone().forward_error("Quota used up");
        assert_eq!(shown(&listed, "Quota used up"), r#"{"error": "Quota used up"}"#);
        assert_eq!(shown(&listed, "Quota used up at 10.0.0.5"), generic);
        let all = rules.dangerous_forward_all_errors();
        assert_eq!(shown(&all, "x"), r#"{"error": "x"}"#);
        assert_eq!(shown(&all, ""), generic);
    }

    /// S-299
    #[test]
    fn an_error_is_ascii_whatever_it_says() {
        let text = json_error("\u{1f511}\u{e9}\u{2028}\n\u{1}\"\\/");
        assert_eq!(text, r#"{"error": "\ud83d\udd11\u00e9\u2028\n\u0001\"\\/"}"#);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["error"], "\u{1f511}\u{e9}\u{2028}\n\u{1}\"\\/");
    }
    /// What a call writes to the log, of this thread alone.
    fn log_of(call: impl FnOnce()) -> String {
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, call);
        let written = log.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    /// S-303, S-305, S-307: the operator reads what the caller does not.
    #[test]
    fn what_was_wrong_is_in_the_log() {
        let rules = ResponseRules::new("tasks");
        let payload = "x".repeat(5_000);
        let wrong = ApiResponse::success(json!({"other": payload}));
        let log = log_of(|| drop(rules.list(&wrong).unwrap_err()));
        assert!(
            log.contains("ERROR") && log.contains("Backend returned tasks in unexpected format"),
            "{log}"
        );
        assert!(
            log.contains("DEBUG") && log.contains(r#"{\"other\":\"xxx"#),
            "{log}"
        );
        assert!(log.len() < 2_000, "{}", log.len());
        let failed = ApiResponse::failure("no route to 10.0.0.5");
        let log = log_of(|| drop(rules.list(&failed).unwrap_err()));
        assert!(
            log.contains("ERROR") && log.contains("no route to 10.0.0.5") && !log.contains("DEBUG"),
            "{log}"
        );
        let mixed = ApiResponse::success(json!([1, 2, {}]));
        let log = log_of(|| drop(rules.list(&mixed).unwrap()));
        assert!(log.contains("WARN") && log.contains("dropped=2"), "{log}");
    }
}
