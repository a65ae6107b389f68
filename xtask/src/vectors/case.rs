//! A file of vectors and its cases.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::json::Json;

/// The one form of file that this runner reads.
const SCHEMA: u64 = 1;

/// The cases of one area.
pub(super) struct File {
    pub(super) area: String,
    pub(super) cases: Vec<Case>,
}

/// One call with its arguments, what the seed did, and what would be better.
pub(super) struct Case {
    /// `area/class/number`
    pub(super) id: String,
    /// `area/class`: the behaviour that the case is an example of
    pub(super) class: String,
    /// What is called
    pub(super) call: String,
    /// The arguments by name
    pub(super) args: Value,
    /// The same with its members in order and its numbers as written
    pub(super) args_as_written: Json,
    /// The clock at the call, in Unix seconds
    pub(super) now: Option<f64>,
    pub(super) expect: Value,
    pub(super) better: Option<Better>,
}

/// What is judged to be better than what the seed did.
pub(super) struct Better {
    pub(super) expect: Option<Value>,
    pub(super) expect_steps: Option<Vec<Value>>,
}

impl Case {
    /// An argument; null when it was left out, as the calls themselves have it.
    pub(super) fn arg(&self, name: &str) -> &Value {
        &self.args[name]
    }

    /// An argument that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.args[name].as_str()
    }
}

impl File {
    /// Reads one file.
    ///
    /// # Errors
    /// A file that is not there, is empty, is no JSON, or has another schema or area than it should.
    pub(super) fn read(folder: &Path, area: &str) -> Result<Self> {
        let path = folder.join(format!("{area}.json"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text, area).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, area: &str) -> Result<Self> {
        let json = Json::parse(text)?;
        let value = |name: &str| json.member(name).map(Json::to_value).unwrap_or_default();
        ensure!(
            value("schema").as_u64() == Some(SCHEMA),
            "the schema is not {SCHEMA} but {}",
            value("schema")
        );
        ensure!(
            value("area").as_str() == Some(area),
            "the area is not {area} but {}",
            value("area")
        );
        let Some(Json::List(cases)) = json.member("cases") else {
            bail!("there is no list of cases")
        };
        ensure!(!cases.is_empty(), "there is no case");
        ensure!(
            value("count").as_u64() == Some(cases.len() as u64),
            "count says {}, but there are {} cases",
            value("count"),
            cases.len()
        );
        let cases = cases
            .iter()
            .map(|case| read_case(case, area))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            area: area.to_owned(),
            cases,
        })
    }
}

fn read_case(json: &Json, area: &str) -> Result<Case> {
    let value = |name: &str| json.member(name).map(Json::to_value);
    let id = value("id")
        .as_ref()
        .and_then(Value::as_str)
        .context("a case without an id")?
        .to_owned();
    let text = |name: &str| -> Result<String> {
        value(name)
            .as_ref()
            .and_then(Value::as_str)
            .map(str::to_owned)
            .with_context(|| format!("{id}: no {name}"))
    };
    let class = format!("{area}/{}", text("class")?);
    let call = text("call")?;
    let better = value("better").map(|better| Better {
        expect: better.get("expect").cloned(),
        expect_steps: better.get("expect_steps").and_then(Value::as_array).cloned(),
    });
    let args_as_written = json.member("args").cloned().unwrap_or(Json::Object(Vec::new()));
    Ok(Case {
        class,
        call,
        args: args_as_written.to_value(),
        args_as_written,
        now: value("now").as_ref().and_then(Value::as_f64),
        expect: value("expect").with_context(|| format!("{id}: no expect"))?,
        better,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"schema":1,"area":"a","count":1,"cases":[
        {"id":"a/c/001","class":"c","call":"f","args":{"x":1},"now":5.5,"expect":{"value":true},"better":{"why":"w"}}]}"#;

    #[test]
    fn a_file_is_read_whole() {
        let file = File::parse(GOOD, "a").unwrap();
        let case = &file.cases[0];
        assert_eq!((case.class.as_str(), case.call.as_str()), ("a/c", "f"));
        assert_eq!((case.arg("x"), case.now), (&serde_json::json!(1), Some(5.5)));
        assert!(case.better.is_some() && case.arg("y").is_null());
    }

    #[test]
    fn a_file_that_is_not_what_it_should_be_is_refused() {
        for (from, to) in [
            ("\"schema\":1", "\"schema\":2"),
            ("\"schema\":1,", ""),
            ("\"area\":\"a\"", "\"area\":\"b\""),
            ("\"count\":1", "\"count\":2"),
            ("\"call\":\"f\",", ""),
            ("\"id\":\"a/c/001\",", ""),
            (",\"expect\":{\"value\":true}", ""),
        ] {
            let bad = GOOD.replacen(from, to, 1);
            assert_ne!(bad, GOOD);
            assert!(File::parse(&bad, "a").is_err(), "{to}");
        }
        assert!(File::parse("", "a").is_err());
        assert!(File::parse(r#"{"schema":1,"area":"a","count":0,"cases":[]}"#, "a").is_err());
    }
}
