//! All rules and watches as one JSON document, and back.
//!
//! ```json
//! {"version":1,"rules":[{"pattern":"sensor:*","settings":{"max":28,"unit":"°C"}}],
//!  "watches":[{"pattern":"raw:*","device":"rack","values":["temperature","humidity"]}]}
//! ```
//!
//! A text that is not UTF-8 stands in hexadecimal digits under `NAME_hex`. Numbers may be given as numbers or as strings.

use std::collections::HashSet;

use serde_json::{Map, Number, Value as Json, json};

use crate::error::Error;
use crate::rule::{Change, Rule, Rules};
use crate::setting::{Setting, Value};
use crate::watch::{Given, Part, Watch, Watches};

const VERSION: u64 = 1;

/// What a document holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The watches. Whether a cluster can have them is not checked: see [`Watch::check_slot`].
    pub watches: Vec<Watch>,
}

/// The document that [`import`] reads.
#[must_use]
pub fn export(rules: &Rules, watches: &Watches) -> String {
    let rules: Vec<Json> = rules.list().iter().map(exported).collect();
    let watches: Vec<Json> = watches.list().iter().map(|w| exported_watch(w)).collect();
    json!({ "version": VERSION, "rules": rules, "watches": watches }).to_string()
}

fn exported_watch(watch: &Watch) -> Json {
    let mut object = Map::new();
    put(&mut object, "pattern", watch.pattern());
    for (name, part) in watch.parts() {
        match part {
            Part::One(text) => put(&mut object, name, text),
            Part::Many(fields) => {
                let texts: Option<Vec<&str>> = fields
                    .iter()
                    .map(|field| std::str::from_utf8(field).ok())
                    .collect();
                match texts {
                    Some(texts) => object.insert(name.into(), texts.into()),
                    None => {
                        let digits: Vec<String> = fields.iter().map(|field| hex(field)).collect();
                        object.insert(format!("{name}_hex"), digits.into())
                    }
                };
            }
        }
    }
    Json::Object(object)
}

fn put(object: &mut Map<String, Json>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

fn exported(rule: &Rule) -> Json {
    let mut object = Map::new();
    put(&mut object, "pattern", rule.pattern());
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

/// Reads a document; one without watches has none.
///
/// # Errors
/// [`Error::Document`] that says where and why.
pub fn import(bytes: &[u8]) -> Result<Document, Error> {
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
    let Some(Json::Array(rules)) = document.get("rules") else {
        return Err(refuse("member 'rules' must be an array".into()));
    };
    let watches = match document.get("watches") {
        None => &[],
        Some(Json::Array(watches)) => watches.as_slice(),
        Some(_) => return Err(refuse("member 'watches' must be an array".into())),
    };
    Ok(Document {
        rules: each("rule", rules, imported_rule, Rule::pattern)?,
        watches: each("watch", watches, imported_watch, Watch::pattern)?,
    })
}

/// Reads the members of an array; no two may have one pattern.
fn each<T>(
    what: &str,
    all: &[Json],
    read: impl Fn(&Json) -> Result<T, String>,
    pattern: impl Fn(&T) -> &[u8],
) -> Result<Vec<T>, Error> {
    let (mut imported, mut seen) = (Vec::with_capacity(all.len()), HashSet::new());
    for (index, json) in all.iter().enumerate() {
        let place = |why: String| refuse(format!("{what} {}: {why}", index + 1));
        let item = read(json).map_err(place)?;
        if !seen.insert(pattern(&item).to_vec()) {
            return Err(place("its pattern stands twice".into()));
        }
        imported.push(item);
    }
    Ok(imported)
}

fn imported_watch(watch: &Json) -> Result<Watch, String> {
    let Json::Object(watch) = watch else {
        return Err("it is not an object".into());
    };
    let mut pattern = None;
    let mut given = Given::default();
    for (name, value) in watch {
        let (base, hex) = name
            .strip_suffix("_hex")
            .map_or((name.as_str(), false), |base| (base, true));
        let slot = match base {
            "pattern" => &mut pattern,
            "device" => &mut given.device,
            "time" => &mut given.time,
            "metric" => &mut given.metric,
            "value" => &mut given.value,
            "json" => &mut given.json,
            "key" => &mut given.key,
            "values" => {
                let Json::Array(fields) = value else {
                    return Err(format!("member '{name}' must be an array"));
                };
                let fields = fields.iter().map(|field| text(name, hex, field));
                fill(name, &mut given.values, fields.collect::<Result<_, _>>()?)?;
                continue;
            }
            _ => {
                return Err(format!(
                    "unknown member '{}': expected pattern, device, time, metric, value, values, json, key",
                    shown(name)
                ));
            }
        };
        fill(name, slot, text(name, hex, value)?)?;
    }
    let pattern = pattern.ok_or("member 'pattern' must be a string")?;
    Watch::new(&pattern, given).map_err(|error| plain(&error))
}

fn fill<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("member '{name}' stands twice")),
    }
}

fn text(name: &str, hex: bool, value: &Json) -> Result<Vec<u8>, String> {
    match value {
        Json::String(digits) if hex => {
            unhex(digits).ok_or_else(|| format!("{name} must be pairs of hexadecimal digits"))
        }
        Json::String(text) => Ok(text.as_bytes().to_vec()),
        _ => Err(format!("member '{name}' must be a string")),
    }
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
        (Some(given), None) => text("pattern", false, given)?,
        (None, Some(given)) => text("pattern_hex", true, given)?,
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
    use proptest::prelude::*;

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
        let none = Watches::default();
        let document = import(export(&before, &none).as_bytes()).unwrap();
        assert!(document.watches.is_empty());
        after.import(document.rules, true);
        assert_eq!(after.list(), before.list());
        assert_eq!(export(&after, &none), export(&before, &none));
    }

    #[test]
    fn a_document_without_watches_has_none() {
        assert_eq!(import(br#"{"rules":[]}"#), Ok(Document::default()));
    }

    #[test]
    fn watches_stand_in_a_document_as_they_were_set() {
        let mut watches = Watches::default();
        for (pattern, options) in [
            (
                &b"raw:*"[..],
                &[
                    &b"VALUES"[..],
                    b"2",
                    b"temperature",
                    b"humidity",
                    b"DEVICE",
                    b"rack",
                ][..],
            ),
            (
                b"k\xff",
                &[b"METRIC", b"m", b"VALUE", b"v\xfe", b"KEY", b"$stream"],
            ),
            (b"z", &[b"JSON", b"data", b"TIME", b"at"]),
        ] {
            watches.set(
                crate::command::watch::parse_set(pattern, options, false)
                    .unwrap()
                    .0,
            );
        }
        assert_eq!(
            export(&Rules::default(), &watches),
            concat!(
                r#"{"version":1,"rules":[],"watches":["#,
                r#"{"pattern":"raw:*","device":"rack","values":["temperature","humidity"]},"#,
                r#"{"pattern":"z","time":"at","json":"data"},"#,
                r#"{"pattern_hex":"6bff","metric":"m","value_hex":"76fe","key":"$stream"}]}"#
            )
        );
    }

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => "[a-zA-Z:\"\\\\*é]{1,8}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 1..8),
        ]
    }

    prop_compose! {
        fn given()(
            device in prop::option::of(name()), time in prop::option::of(name()), json in prop::option::of(name()),
            key in prop::option::of(name().prop_filter("a template", |key| !key.contains(&b'$'))),
            pair in prop::option::of((name(), name())), values in prop::option::of(prop::collection::hash_set(name(), 1..5)),
        ) -> Given {
            let values: Option<Vec<Vec<u8>>> = values.map(|names| names.into_iter().collect());
            let (metric, value) = pair.filter(|_| values.is_none()).unzip();
            Given { device, time, metric, value, values, json, key }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(300))]

        #[test]
        fn any_watches_come_back_as_they_were(all in prop::collection::vec((name(), given()), 0..6)) {
            let (mut before, mut after) = (Watches::default(), Watches::default());
            for (pattern, given) in all {
                before.set(Watch::new(&pattern, given).unwrap());
            }
            let text = export(&Rules::default(), &before);
            after.import(import(text.as_bytes()).unwrap().watches, true);
            prop_assert_eq!(after.list(), before.list());
            prop_assert_eq!(export(&Rules::default(), &after), text);
        }
    }

    const REAL: &str = r#"{"version":1,"rules":[{"pattern":"sensor:*","settings":{"max":28.5,"unit":"°C","auto":"off"}},{"pattern_hex":"ff","settings":{"window":30}}],"watches":[{"pattern":"raw:*","device":"rack","values":["t","h"],"key":"x:$device:$metric"}]}"#;

    #[test]
    fn a_document_cut_off_anywhere_is_refused() {
        assert!(import(REAL.as_bytes()).is_ok());
        for end in 0..REAL.len() {
            assert!(import(&REAL.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_document_nested_deeply_is_refused() {
        for open in ["[", "{\"rules\":"] {
            assert!(import(open.repeat(100_000).as_bytes()).is_err());
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(2000))]

        #[test]
        fn a_damaged_document_is_refused_or_says_what_it_is_taken_for(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..5),
        ) {
            let mut bytes = REAL.as_bytes().to_vec();
            for (index, byte, bit) in damage {
                let at = index.index(bytes.len());
                bytes[at] = if bit { bytes[at] ^ (1 << (byte % 8)) } else { byte };
            }
            if let Ok(document) = import(&bytes) {
                let (mut rules, mut watches) = (Rules::default(), Watches::default());
                rules.import(document.rules, true);
                watches.import(document.watches, true);
                let text = export(&rules, &watches);
                let again = import(text.as_bytes()).unwrap();
                prop_assert_eq!(again.rules.as_slice(), rules.list());
                prop_assert_eq!(again.watches.len(), watches.list().len());
            }
        }
    }

    #[test]
    fn an_import_of_many_is_the_same_as_setting_one_after_the_other() {
        let rule = |pattern: &str, changes: &str| {
            Rule::new(pattern.as_bytes())
                .unwrap()
                .with(&crate::testing::changes(changes))
                .unwrap()
        };
        let new = vec![
            rule("b*", "max 3"),
            rule("*", "max 4"),
            rule("ab", ""),
            rule("a?", "min 1"),
        ];
        let (mut one, mut other) = (Rules::default(), Rules::default());
        for rules in [&mut one, &mut other] {
            for (pattern, changes) in [("*", "min 0"), ("ab", "max 9"), ("c*", "max 2")] {
                rules
                    .set(pattern.as_bytes(), &crate::testing::changes(changes))
                    .unwrap();
            }
        }
        new.iter()
            .for_each(|rule| one.import(vec![rule.clone()], false));
        other.import(new, false);
        assert_eq!(one.list(), other.list());
        let patterns: Vec<&[u8]> = one.list().iter().map(Rule::pattern).collect();
        assert_eq!(patterns, [&b"*"[..], b"a?", b"b*", b"c*"]);
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
            (r#"{"rules":[],"watches":[1]}"#, "watch 1: it is not"),
            (r#"{"rules":[],"watches":{}}"#, "'watches' must be an array"),
            (
                r#"{"rules":[],"watches":[{"device":"d"}]}"#,
                "watch 1: member 'pattern'",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a"},{"pattern":"b","from":"0"}]}"#,
                "watch 2: unknown member 'from'",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a"},{"pattern":"a"}]}"#,
                "watch 2: its pattern stands twice",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","device":5}]}"#,
                "'device' must be a string",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","device":"d","device_hex":"64"}]}"#,
                "'device_hex' stands twice",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","device_hex":"6"}]}"#,
                "device_hex must be pairs of hexadecimal digits",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","metric":"m"}]}"#,
                "'METRIC' needs 'VALUE'",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","values":[]}]}"#,
                "'VALUES'",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","values":"t"}]}"#,
                "'values' must be an array",
            ),
            (
                r#"{"rules":[],"watches":[{"pattern":"a","key":"$x"}]}"#,
                "unknown variable '$x'",
            ),
        ] {
            let error = import(document.as_bytes()).unwrap_err().to_string();
            assert!(
                error.starts_with("ERR document cannot be imported: ") && error.contains(why),
                "{document}: {error}"
            );
        }
    }
}
