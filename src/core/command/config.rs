//! `ANOMALY.CONFIG SET | GET | RESOLVE | LIST | DEL | EXPORT | IMPORT | HELP`: the rules.

use super::{Access, Arg, ArgKind, Keys, Reply, Spec, administer, read, subcommand_help};
use crate::error::Error;
use crate::rule::{Change, Rule, Rules};
use crate::setting::Setting;

const PATTERN: Arg = Arg::new("pattern", ArgKind::Pattern);
pub(super) const SETTING: Arg = Arg::of(
    "setting",
    ArgKind::Block,
    &[
        Arg::new("name", ArgKind::Text),
        Arg::new("value", ArgKind::Text),
    ],
);

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "depends on subcommand",
    complexity: "Depends on subcommand",
    subcommands: &[
        Spec {
            reply: "OK",
            complexity: "O(N) with N rules",
            ..administer(
                "set",
                "Creates or changes the rule of a pattern",
                -5,
                &[PATTERN, SETTING.multiple()],
            )
        },
        Spec {
            reply: "a map of what that rule sets, nil if there is none",
            complexity: "O(N) with N rules",
            ..read(
                "get",
                "Tells what the rule of a pattern sets",
                3,
                &[PATTERN],
            )
        },
        Spec {
            reply: "a map: name → [value, pattern it came from or `default`]",
            complexity: "O(N) with N rules",
            keys: Keys::One(2),
            ..read(
                "resolve",
                "Tells what every setting is for a sensor, and which rule it comes from",
                3,
                &[Arg::key()],
            )
        },
        Spec {
            reply: "an array of [pattern, map]",
            complexity: "O(N) with N rules",
            ..read("list", "Lists all rules, least specific first", 2, &[])
        },
        Spec {
            reply: "1, or 0 if there is no such rule",
            complexity: "O(N) with N rules",
            access: Access::WriteAlways,
            ..administer("del", "Removes the rule of a pattern", 3, &[PATTERN])
        },
        Spec {
            reply: "the document, a string",
            complexity: "O(N) with N rules",
            ..read("export", "Gives all rules as one JSON document", 2, &[])
        },
        Spec {
            reply: "OK",
            complexity: "O(N log N) with N rules",
            ..administer(
                "import",
                "Takes in the rules of a JSON document, all or none; with REPLACE all others go",
                -3,
                &[
                    Arg::new("json", ArgKind::Text),
                    Arg::word("replace", "REPLACE").optional(),
                ],
            )
        },
        Spec {
            reply: "an array of lines",
            ..read("help", "Shows this help", 2, &[])
        },
    ],
    ..read(
        "anomaly.config",
        "Manages the rules that apply to sensors",
        -2,
        &[],
    )
};

/// The changes of `SET pattern name value [name value …]`.
///
/// # Errors
/// [`Error::Incomplete`] for a name without a value, and those of the settings.
pub fn changes(pairs: &[&[u8]]) -> Result<Vec<Change>, Error> {
    pairs
        .chunks(2)
        .map(|pair| match pair {
            [name, value] => {
                let setting = Setting::named(name)?;
                Ok((setting, setting.parse(value)?))
            }
            _ => Err(Error::Incomplete {
                name: pair.concat(),
                expected: "the value of the setting",
            }),
        })
        .collect()
}

/// Whether `IMPORT json [REPLACE]` replaces.
///
/// # Errors
/// [`Error::Argument`] for another word.
pub fn replaces(option: Option<&[u8]>) -> Result<bool, Error> {
    match option {
        None => Ok(false),
        Some(word) if word.eq_ignore_ascii_case(b"REPLACE") => Ok(true),
        Some(other) => Err(Error::Argument {
            given: other.to_vec(),
            expected: "REPLACE or nothing",
        }),
    }
}

/// What a rule sets.
#[must_use]
pub fn rule(rule: &Rule) -> Reply {
    Reply::map(rule.values().map(|(setting, value)| {
        let spec = setting.spec();
        (spec.name, Reply::text(value.text(spec.domain)))
    }))
}

/// The reply of LIST.
#[must_use]
pub fn list(rules: &Rules) -> Reply {
    let row = |r: &Rule| Reply::Array(vec![Reply::text(r.pattern()), rule(r)]);
    Reply::Array(rules.list().iter().map(row).collect())
}

/// The reply of RESOLVE.
#[must_use]
pub fn resolved(key: &[u8], rules: &Rules) -> Reply {
    let rows: Vec<_> = rules
        .resolve(key)
        .into_iter()
        .map(|(setting, value, from)| {
            let spec = setting.spec();
            let from = from.as_deref().unwrap_or(b"default");
            (
                spec.name,
                Reply::Array(vec![
                    Reply::text(value.text(spec.domain)),
                    Reply::text(from),
                ]),
            )
        })
        .collect();
    Reply::map(rows)
}

/// The help lines, and the settings.
#[must_use]
pub fn help() -> Reply {
    let mut lines = subcommand_help(&SPEC);
    lines.push("Settings are (name, default, what it takes, meaning):".into());
    for setting in Setting::ALL {
        let spec = setting.spec();
        let default = if spec.default.is_empty() {
            "\"\""
        } else {
            spec.default
        };
        lines.push(format!("{} {default}", spec.name));
        lines.push(format!(
            "    {}, or inherit: {}.",
            spec.domain.expected(),
            spec.meaning
        ));
    }
    Reply::Array(lines.into_iter().map(Reply::text).collect())
}
