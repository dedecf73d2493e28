//! All rules as one JSON document, and back.
//!
//! ```json
//! {"version":1,"rules":[{"pattern":"sensor:*","settings":{"max":28,"unit":"°C"}}],"watches":[]}
//! ```
//!
//! A pattern that is not UTF-8 stands as `"pattern_hex"`. Numbers may be given as numbers or as strings.

use serde_json::{Map, Number, Value as Json, json};

use crate::error::Error;
use crate::rule::{Change, Rule, Rules};
use crate::setting::{Setting, Value};

const VERSION: u64 = 1;

/// The document that [`import`] reads.
#[must_use]
pub fn export(rules: &Rules) -> String {
    let rules: Vec<Json> = rules.list().iter().map(exported).collect();
    json!({ "version": VERSION, "rules": rules, "watches": [] }).to_string()
}

fn exported(rule: &Rule) -> Json {
    let mut object = Map::new();
    match std::str::from_utf8(rule.pattern()) {
        Ok(text) => object.insert("pattern".into(), text.into()),
        Err(_) => object.insert("pattern_hex".into(), hex(rule.pattern()).into()),
    };
    let settings: Map<String, Json> = rule
        .values()
        .map(|(setting, value)| {
            let spec = setting.spec();
            let json = match value {
                Value::Number(x) if x.fract() == 0.0 && x.abs() < 1e15 => Json::from(*x as i64),
                Value::Number(x) => Number::from_f64(*x).map_or(Json::Null, Json::Number),
                Value::Count(n) => Json::from(*n),
                other => Json::from(other.text(spec.domain)),
            };
            (spec.name.to_owned(), json)
        })
        .collect();
    object.insert("settings".into(), Json::Object(settings));
    Json::Object(object)
}

/// The rules of a document.
///
/// # Errors
/// [`Error::Document`] that says where and why.
pub fn import(bytes: &[u8]) -> Result<Vec<Rule>, Error> {
    let document: Json =
        serde_json::from_slice(bytes).map_err(|e| refuse(format!("it is not JSON: {e}")))?;
    let Json::Object(document) = document else {
        return Err(refuse("it is not an object".into()));
    };
    for name in document.keys() {
        if !matches!(name.as_str(), "version" | "rules" | "watches") {
            return Err(refuse(format!(
                "unknown member '{}': expected version, rules, watches",
                shown(name)
            )));
        }
    }
    if document
        .get("version")
        .is_some_and(|version| *version != json!(VERSION))
    {
        return Err(refuse(format!("version must be {VERSION}")));
    }
    if document
        .get("watches")
        .is_some_and(|watches| *watches != json!([]))
    {
        return Err(refuse(
            "watches are not available in this version: expected []".into(),
        ));
    }
    let Some(Json::Array(rules)) = document.get("rules") else {
        return Err(refuse("member 'rules' must be an array".into()));
    };
    let mut imported: Vec<Rule> = Vec::with_capacity(rules.len());
    for (index, rule) in rules.iter().enumerate() {
        let rule =
            imported_rule(rule).map_err(|why| refuse(format!("rule {}: {why}", index + 1)))?;
        if imported
            .iter()
            .any(|other| other.pattern() == rule.pattern())
        {
            return Err(refuse(format!(
                "rule {}: its pattern stands twice",
                index + 1
            )));
        }
        imported.push(rule);
    }
    Ok(imported)
}

fn imported_rule(rule: &Json) -> Result<Rule, String> {
    let Json::Object(rule) = rule else {
        return Err("it is not an object".into());
    };
    if let Some(name) = rule
        .keys()
        .find(|name| !matches!(name.as_str(), "pattern" | "pattern_hex" | "settings"))
    {
        return Err(format!(
            "unknown member '{}': expected pattern, settings",
            shown(name)
        ));
    }
    let pattern = match (rule.get("pattern"), rule.get("pattern_hex")) {
        (Some(Json::String(text)), None) => text.as_bytes().to_vec(),
        (None, Some(Json::String(text))) => {
            unhex(text).ok_or("pattern_hex must be pairs of hexadecimal digits")?
        }
        _ => return Err("member 'pattern' must be a string".into()),
    };
    let Some(Json::Object(settings)) = rule.get("settings") else {
        return Err("member 'settings' must be an object".into());
    };
    let changes: Vec<Change> = settings
        .iter()
        .map(|(name, value)| imported_setting(name, value))
        .collect::<Result<_, _>>()?;
    Rule::new(&pattern)
        .and_then(|rule| rule.with(&changes))
        .map_err(|error| plain(&error))
}

fn imported_setting(name: &str, value: &Json) -> Result<Change, String> {
    let setting = Setting::named(name.as_bytes()).map_err(|error| plain(&error))?;
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or(number.to_string(), crate::text::number),
        _ => return Err(format!("setting '{name}' must be a string or a number")),
    };
    Ok((
        setting,
        setting
            .parse(text.as_bytes())
            .map_err(|error| plain(&error))?,
    ))
}

fn plain(error: &Error) -> String {
    error.to_string().trim_start_matches("ERR ").to_owned()
}

fn refuse(why: String) -> Error {
    Error::Document { why }
}

fn shown(name: &str) -> String {
    crate::text::shown(name.as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).map(|d| d as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| {
        pairs
            .map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(all: &[(&[u8], &str, &str)]) -> Rules {
        let mut rules = Rules::default();
        for (pattern, name, value) in all {
            let setting = Setting::named(name.as_bytes()).unwrap();
            rules
                .set(
                    pattern,
                    &[(setting, setting.parse(value.as_bytes()).unwrap())],
                )
                .unwrap();
        }
        rules
    }

    #[test]
    fn what_is_exported_is_imported_bit_for_bit() {
        let before = rules(&[
            (b"*", "max", "0.1"),
            (b"*", "unit", "\u{b0}C \"x\""),
            (b"a\\*b", "zscore", "1e-7"),
            (b"k\xff*", "enabled", "no"),
            (b"s", "season", "86400000"),
            (b"s", "min", "-123456789.123456789"),
            (b"t", "max", "-"),
        ]);
        let mut after = rules(&[(b"gone", "max", "1")]);
        after.import(import(export(&before).as_bytes()).unwrap(), true);
        assert_eq!(after.list(), before.list());
        assert_eq!(export(&after), export(&before));
    }

    #[test]
    fn a_bad_document_is_refused_with_the_place_and_the_reason() {
        for (document, why) in [
            ("{", "not JSON"),
            ("[]", "not an object"),
            (r#"{"rules":[],"extra":1}"#, "unknown member 'extra'"),
            (r#"{"rules":[],"version":2}"#, "version must be 1"),
            (r#"{"version":1}"#, "'rules' must be an array"),
            (
                r#"{"rules":[{"pattern":"*","settings":{}},{"pattern":"a"}]}"#,
                "rule 2: member 'settings'",
            ),
            (
                r#"{"rules":[{"pattern":"*","settings":{"max":"high"}}]}"#,
                "rule 1: setting 'max' cannot be 'high'",
            ),
            (
                r#"{"rules":[{"pattern":"*","settings":{"maxx":1}}]}"#,
                "did you mean 'max'",
            ),
            (
                r#"{"rules":[{"pattern":"*","settings":{"min":2,"max":1}}]}"#,
                "must not be above",
            ),
            (
                r#"{"rules":[{"pattern":"*","settings":{"max":null}}]}"#,
                "a string or a number",
            ),
            (
                r#"{"rules":[{"pattern_hex":"6","settings":{}}]}"#,
                "hexadecimal",
            ),
            (
                r#"{"rules":[{"pattern":"","settings":{}}]}"#,
                "1 to 1024 bytes",
            ),
            (
                r#"{"rules":[{"pattern":"*","settings":{}},{"pattern":"*","settings":{}}]}"#,
                "stands twice",
            ),
            (r#"{"rules":[],"watches":[1]}"#, "watches"),
        ] {
            let error = import(document.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with("ERR document cannot be imported: ") && error.contains(why),
                "{document}: {error}"
            );
        }
    }
}
