//! `ANOMALY.WATCH SET | GET | LIST | DEL | HELP`: the streams whose entries are readings.

use super::{Access, Arg, ArgKind, Reply, Spec, administer, read, subcommand_help};
use crate::error::Error;
use crate::stream_id::StreamId;
use crate::watch::{Given, MOST_VALUES, Part, Watch, Watches};

const PATTERN: Arg = Arg::new("stream-pattern", ArgKind::Pattern);
const FIELD: Arg = Arg::new("field", ArgKind::Text);

const fn field(name: &'static str, token: &'static str) -> Arg {
    Arg::new(name, ArgKind::Text).shown("field").after(token)
}

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "depends on subcommand",
    complexity: "Depends on subcommand",
    subcommands: &[
        Spec {
            reply: "OK",
            complexity: "O(N) with N watches; with FROM, entries a stream already holds are read in the background",
            ..administer(
                "set",
                "Reads every entry added to a matching stream as readings; with FROM also what it already holds",
                -3,
                &[
                    PATTERN,
                    field("device", "DEVICE").optional(),
                    field("time", "TIME").optional(),
                    Arg::of(
                        "values",
                        ArgKind::OneOf,
                        &[
                            Arg::of(
                                "pair",
                                ArgKind::Block,
                                &[field("metric", "METRIC"), field("value", "VALUE")],
                            ),
                            Arg::of(
                                "fields",
                                ArgKind::Block,
                                &[
                                    Arg::new("n", ArgKind::Integer).after("VALUES"),
                                    FIELD.multiple(),
                                ],
                            ),
                        ],
                    )
                    .optional(),
                    field("json", "JSON").optional(),
                    Arg::new("template", ArgKind::Text).after("KEY").optional(),
                    Arg::new("id", ArgKind::Text).after("FROM").optional(),
                ],
            )
        },
        Spec {
            reply: "a map of what that watch sets, nil if there is none",
            complexity: "O(N) with N watches",
            ..read(
                "get",
                "Tells what the watch of a pattern sets",
                3,
                &[PATTERN],
            )
        },
        Spec {
            reply: "an array of [pattern, map]",
            complexity: "O(N) with N watches",
            ..read("list", "Lists all watches, least specific first", 2, &[])
        },
        Spec {
            reply: "1, or 0 if there is no such watch",
            complexity: "O(N) with N watches",
            access: Access::WriteAlways,
            ..administer("del", "Removes the watch of a pattern", 3, &[PATTERN])
        },
        Spec {
            reply: "an array of lines",
            ..read("help", "Shows this help", 2, &[])
        },
    ],
    ..read(
        "anomaly.watch",
        "Manages the streams whose entries are readings",
        -2,
        &[],
    )
};

const OPTIONS: &str = "DEVICE field, TIME field, METRIC field VALUE field or VALUES n field …, JSON field, KEY template, FROM id";

/// What `SET stream-pattern …` asks for: the watch, and with FROM the id of the first entry to read of what is there.
///
/// # Errors
/// Those of [`Watch::new`] and [`Watch::check_slot`], [`Error::Argument`], [`Error::Incomplete`] and [`Error::Twice`].
pub fn parse_set(
    pattern: &[u8],
    options: &[&[u8]],
    cluster: bool,
) -> Result<(Watch, Option<StreamId>), Error> {
    let (mut given, mut from) = (Given::default(), None);
    let mut rest = options;
    while let Some((word, after)) = rest.split_first() {
        let must = |expected| Error::Incomplete {
            name: word.to_vec(),
            expected,
        };
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let field = "the name of a field";
        let (slot, expected) = if is("DEVICE") {
            (&mut given.device, field)
        } else if is("TIME") {
            (&mut given.time, field)
        } else if is("METRIC") {
            (&mut given.metric, field)
        } else if is("VALUE") {
            (&mut given.value, field)
        } else if is("JSON") {
            (&mut given.json, field)
        } else if is("KEY") {
            (&mut given.key, "a template, such as sensor:$device:$metric")
        } else if is("VALUES") {
            let expected = "a number from 1 to 1000 and as many fields";
            let n = counted(after).ok_or_else(|| must(expected))?;
            let fields = after.iter().skip(1).take(n).map(|field| field.to_vec());
            put(word, &mut given.values, fields.collect())?;
            rest = after.get(1 + n..).unwrap_or_default();
            continue;
        } else if is("FROM") {
            let (id, after) = after
                .split_first()
                .and_then(|(id, after)| Some((StreamId::parse(id)?, after)))
                .ok_or_else(|| must("the id of an entry: 0, ms, ms-seq, or - for the first"))?;
            put(word, &mut from, id)?;
            rest = after;
            continue;
        } else {
            return Err(Error::Argument {
                given: word.to_vec(),
                expected: OPTIONS,
            });
        };
        let (text, after) = after.split_first().ok_or_else(|| must(expected))?;
        put(word, slot, text.to_vec())?;
        rest = after;
    }
    let watch = Watch::new(pattern, given)?;
    watch.check_slot(cluster)?;
    Ok((watch, from))
}

fn put<T>(name: &[u8], slot: &mut Option<T>, given: T) -> Result<(), Error> {
    match slot.replace(given) {
        None => Ok(()),
        Some(_) => Err(Error::Twice {
            name: name.to_vec(),
        }),
    }
}

/// How many of the words after VALUES are its fields; the count stands first.
fn counted(args: &[&[u8]]) -> Option<usize> {
    let n: usize = std::str::from_utf8(args.first()?).ok()?.parse().ok()?;
    ((1..=MOST_VALUES).contains(&n) && n < args.len()).then_some(n)
}

/// What a watch sets.
#[must_use]
pub fn watch(watch: &Watch) -> Reply {
    Reply::map(watch.parts().map(|(name, part)| {
        let reply = match part {
            Part::One(text) => Reply::text(text),
            Part::Many(fields) => Reply::Array(fields.iter().map(Reply::text).collect()),
        };
        (name, reply)
    }))
}

/// The reply of LIST.
#[must_use]
pub fn list(watches: &Watches) -> Reply {
    let row = |w: &Watch| Reply::Array(vec![Reply::text(w.pattern()), watch(w)]);
    Reply::Array(watches.list().iter().map(|w| row(w)).collect())
}

/// The help lines.
#[must_use]
pub fn help() -> Reply {
    let mut lines = subcommand_help(&SPEC);
    lines.push("Options of SET are (what is read without it):".into());
    for (option, meaning) in [
        (
            "DEVICE field",
            "the device's name (device_id, device, sensor_id, sensor or id, the first present; needed only where the template has $device)",
        ),
        (
            "TIME field",
            "Unix seconds or milliseconds, or RFC 3339 (timestamp, ts or time, the first present, else the entry's id)",
        ),
        (
            "METRIC field VALUE field",
            "one field holds the metric's name and one its value (every other field that is a number is a metric named after the field)",
        ),
        ("VALUES n field ...", "only these fields are metrics"),
        ("JSON field", "the same from a JSON object in that field"),
        (
            "KEY template",
            "the sensor's key, of $device, $metric, $stream and $tag (sensor:$device:$metric, on a cluster sensor:{$tag}:$device:$metric)",
        ),
        (
            "FROM id",
            "also what the stream already holds from that id on; 0 is everything (only new entries)",
        ),
    ] {
        lines.push(option.into());
        lines.push(format!("    {meaning}."));
    }
    Reply::Array(lines.into_iter().map(Reply::text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn parsed(line: &str) -> (Watch, Option<StreamId>) {
        parse_set(b"raw:*", &words(line), false).unwrap()
    }

    #[test]
    fn options_stand_in_any_order_and_case() {
        let (one, from) = parsed("DEVICE d TIME t VALUES 2 a b JSON j KEY k:$metric FROM 5-7");
        assert_eq!(from, Some(StreamId { ms: 5, seq: 7 }));
        let (other, _) = parsed("from - key k:$metric json j values 2 a b time t device d");
        assert_eq!(one, other);
        let told = watch(&one);
        assert_eq!(
            crate::testing::names(&told),
            ["device", "time", "values", "json", "key"]
        );
        assert_eq!(
            get(&told, "values"),
            &Reply::Array(vec![Reply::text("a"), Reply::text("b")])
        );
        assert_eq!(get(&told, "key"), &Reply::text("k:$metric"));
        let told = watch(&parsed("VALUE v METRIC m").0);
        assert_eq!(
            told,
            Reply::map([("metric", Reply::text("m")), ("value", Reply::text("v"))])
        );
        let (plain, from) = parsed("");
        assert_eq!((watch(&plain), from), (Reply::Map(vec![]), None));
        // A word of an option may be a field's name.
        let (odd, _) = parsed("DEVICE TIME VALUES 1 VALUES");
        assert_eq!(get(&watch(&odd), "device"), &Reply::text("TIME"));
        for (text, id) in [("0", (0, 0)), ("-", (0, 0)), ("5", (5, 0)), ("5-1", (5, 1))] {
            let (ms, seq) = id;
            assert_eq!(
                parsed(&format!("FROM {text}")).1,
                Some(StreamId { ms, seq })
            );
        }
        let thousand = (0..1000).map(|i| format!("f{i} ")).collect::<String>();
        assert!(parse_set(b"s", &words(&format!("VALUES 1000 {thousand}")), false).is_ok());
    }

    #[test]
    fn a_wrong_option_is_named_with_what_would_be_right() {
        for (line, parts) in [
            (
                "DEVIC d",
                &["'DEVIC'", "DEVICE field", "VALUES n field", "FROM id"][..],
            ),
            ("DEVICE", &["'DEVICE'", "name of a field"]),
            ("DEVICE a device b", &["'device'", "twice"]),
            ("TIME", &["'TIME'"]),
            ("METRIC m", &["'METRIC' needs 'VALUE'"]),
            ("VALUE v", &["'VALUE' needs 'METRIC'"]),
            (
                "METRIC m VALUE v VALUES 1 a",
                &["'METRIC' excludes 'VALUES'"],
            ),
            ("VALUES 1 a VALUE v", &["'VALUE' excludes 'VALUES'"]),
            ("VALUES", &["'VALUES'", "1 to 1000"]),
            ("VALUES 0", &["'VALUES'", "1 to 1000"]),
            ("VALUES 0 a", &["'VALUES'"]),
            ("VALUES 1001 a", &["'VALUES'"]),
            ("VALUES -1 a", &["'VALUES'"]),
            ("VALUES two a b", &["'VALUES'"]),
            ("VALUES 3 a b", &["'VALUES'", "as many fields"]),
            ("VALUES 2 a a", &["'a'", "twice"]),
            ("VALUES 1 a b", &["unexpected argument 'b'"]),
            ("KEY", &["'KEY'", "sensor:$device:$metric"]),
            ("KEY $what", &["'$what'", "$device, $metric, $stream, $tag"]),
            ("FROM", &["'FROM'", "0, ms, ms-seq"]),
            ("FROM $", &["'FROM'", "ms-seq"]),
            ("FROM 1 FROM 2", &["'FROM'", "twice"]),
        ] {
            let error = parse_set(b"s", &words(line), false)
                .unwrap_err()
                .to_string();
            for part in parts {
                assert!(
                    error.starts_with("ERR ") && error.contains(part),
                    "{line}: {error}"
                );
            }
        }
        for option in ["DEVICE", "TIME", "JSON", "KEY"] {
            let error = parse_set(b"s", &[option.as_bytes(), b""], false)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(option) && error.contains("1 to 1024 bytes"),
                "{error}"
            );
        }
        assert!(parse_set(b"s", &[b"VALUES", b"1", b""], false).is_err());
        assert_eq!(parse_set(b"", &[], false).unwrap_err(), Error::Pattern);
        assert_eq!(
            parse_set(&[b'x'; 1025], &[], false).unwrap_err(),
            Error::Pattern
        );
    }

    #[test]
    fn on_a_cluster_a_template_that_can_leave_the_slot_is_refused() {
        for (pattern, line, fits) in [
            ("raw:*", "", true),
            ("raw:*", "KEY s:{$tag}:$metric", true),
            ("raw", "KEY s:{raw}:$metric", true),
            ("raw:*", "KEY s:$device", false),
            ("a}b", "", false),
        ] {
            let set = parse_set(pattern.as_bytes(), &words(line), true);
            assert_eq!(set.is_ok(), fits, "{pattern} {line}");
            if let Err(error) = set {
                let error = error.to_string();
                assert!(
                    error.starts_with("CROSSSLOT ")
                        && error.contains("'KEY'")
                        && error.contains("{$tag}"),
                    "{error}"
                );
            }
            assert!(parse_set(pattern.as_bytes(), &words(line), false).is_ok());
        }
    }

    #[test]
    fn watches_are_listed_least_specific_first() {
        let mut watches = Watches::default();
        watches.set(parsed("DEVICE d").0);
        watches.set(parse_set(b"*", &[], false).unwrap().0);
        assert_eq!(
            list(&watches),
            Reply::Array(vec![
                Reply::Array(vec![Reply::text("*"), Reply::Map(vec![])]),
                Reply::Array(vec![
                    Reply::text("raw:*"),
                    Reply::map([("device", Reply::text("d"))])
                ]),
            ])
        );
    }

    #[test]
    fn help_tells_every_subcommand_and_every_option() {
        let Reply::Array(lines) = help() else {
            panic!("help is lines");
        };
        let lines: Vec<String> = lines
            .iter()
            .map(|line| match line {
                Reply::Text(text) => String::from_utf8(text.clone()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(lines[0].starts_with("ANOMALY.WATCH <subcommand>"));
        for head in [
            "SET ", "GET ", "LIST", "DEL ", "HELP", "DEVICE", "TIME", "METRIC", "VALUES", "JSON",
            "KEY", "FROM",
        ] {
            assert!(lines.iter().any(|line| line.starts_with(head)), "{head}");
        }
    }
}
