use proptest::prelude::*;

use super::*;
use crate::command::watch::parse_set;
use crate::key;
use crate::testing::cases;

const MS: Option<u64> = Some(1_700_000_000_000);

/// A watch as ANOMALY.WATCH SET would make it.
fn watch(options: &str) -> Watch {
    let words: Vec<&[u8]> = options.split_whitespace().map(str::as_bytes).collect();
    parse_set(b"*", &words, false).unwrap().0
}

fn pairs<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

/// With what was kept of entries before, as long as it fits.
fn read_with(
    watch: &Watch,
    stream: &[u8],
    ms: Option<u64>,
    fields: &[(&[u8], &[u8])],
    cluster: bool,
    shape: &mut Shape,
) -> Items<'static> {
    let names: Vec<&[u8]> = fields.iter().map(|(name, _)| *name).collect();
    if !shape.is_of(names.len(), |at| names[at]) {
        *shape = Shape::new(watch, stream, &names);
    }
    assert_eq!(shape.len(), fields.len());
    let values: Vec<&[u8]> = fields.iter().map(|(_, value)| *value).collect();
    let items = read(watch, stream, ms, shape, &values, cluster);
    // Whatever it is, each field by itself says the same.
    assert_eq!(items, read_each(watch, stream, ms, shape, &values, cluster));
    items.into_iter().map(kept).collect()
}

/// Without anything that was kept of entries before.
fn read_once(
    watch: &Watch,
    stream: &[u8],
    ms: Option<u64>,
    fields: &[(&[u8], &[u8])],
    cluster: bool,
) -> Items<'static> {
    read_with(watch, stream, ms, fields, cluster, &mut Shape::default())
}

fn items(options: &str, fields: &[(&str, &str)]) -> Items<'static> {
    read_once(&watch(options), b"raw", MS, &pairs(fields), false)
}

/// `key=value@time` of each reading, `metric!reason` of what is bad.
fn told(items: Items<'_>) -> Vec<String> {
    let line = |item: Item<'_>| match item {
        Ok(EntryReading { key, reading, .. }) => {
            let key = String::from_utf8(key.into_vec()).unwrap();
            format!("{key}={}@{}", reading.value, reading.at.millis())
        }
        Err(BadEntry { metric, reason }) => {
            let metric = metric.map_or("-".into(), |metric| escaped(&metric));
            format!("{metric}!{reason}")
        }
    };
    items.into_iter().map(line).collect()
}

#[track_caller]
fn assert_read(options: &str, fields: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(
        told(items(options, fields)),
        expected,
        "{options}: {fields:?}"
    );
}

/// The whole entry is bad, for a reason that says this.
#[track_caller]
fn assert_bad(options: &str, fields: &[(&str, &str)], why: &str) {
    let told = told(items(options, fields));
    assert!(
        matches!(&told[..], [one] if one.starts_with("-!") && one.contains(why)),
        "{options} {fields:?}: '{why}' is not in {told:?}"
    );
}

#[test]
fn the_four_real_shapes_are_read_with_at_most_one_line() {
    let entry = [
        ("device_id", "inrow-ABC-1"),
        ("temperature", "22.5"),
        ("timestamp", "1754300000"),
    ];
    assert_read(
        "",
        &entry,
        &["sensor:inrow-ABC-1:temperature=22.5@1754300000000"],
    );
    let [Ok(reading)] = &items("", &entry)[..] else {
        panic!("one reading");
    };
    assert_eq!(
        (&reading.device[..], &reading.metric[..]),
        (&b"inrow-ABC-1"[..], &b"temperature"[..])
    );

    assert_read(
        "METRIC metric_type VALUE value",
        &[
            ("sensor_id", "weather-1"),
            ("metric_type", "humidity"),
            ("value", "61"),
            ("timestamp", "2025-07-28T10:00:00Z"),
        ],
        &["sensor:weather-1:humidity=61@1753696800000"],
    );

    assert_read(
        "JSON data",
        &[(
            "data",
            r#"{"device_id":"d1","temperature":21.4,"humidity":40.2,"pressure":1013}"#,
        )],
        &[
            "sensor:d1:temperature=21.4@1700000000000",
            "sensor:d1:humidity=40.2@1700000000000",
            "sensor:d1:pressure=1013@1700000000000",
        ],
    );

    let kitchen = read_once(
        &watch("KEY $stream:$metric"),
        b"room:kitchen",
        MS,
        &pairs(&[("temp", "21.4")]),
        false,
    );
    assert_eq!(told(kitchen), ["room:kitchen:temp=21.4@1700000000000"]);
}

#[test]
fn device_and_time_are_the_first_conventional_fields_there_are() {
    for (index, name) in crate::watch::DEVICES.iter().enumerate() {
        let name = std::str::from_utf8(name).unwrap();
        let rest = &crate::watch::DEVICES[index..];
        // In reverse order: the place in the entry does not matter.
        let mut fields: Vec<_> = rest
            .iter()
            .rev()
            .map(|other| (std::str::from_utf8(other).unwrap(), "no"))
            .collect();
        fields.last_mut().unwrap().1 = "yes";
        fields.push(("t", "1"));
        assert_eq!(
            told(items("", &fields)),
            ["sensor:yes:t=1@1700000000000"],
            "{name}"
        );
    }
    assert_read(
        "",
        &[
            ("time", "x"),
            ("ts", "y"),
            ("timestamp", "5"),
            ("id", "a"),
            ("t", "1"),
        ],
        &["sensor:a:t=1@5000"],
    );
    assert_read(
        "",
        &[("time", "x"), ("ts", "6"), ("id", "a"), ("t", "1")],
        &["sensor:a:t=1@6000"],
    );
    assert_read(
        "",
        &[("time", "7"), ("id", "a"), ("t", "1")],
        &["sensor:a:t=1@7000"],
    );
    // Without any: the id's milliseconds.
    assert_read(
        "",
        &[("id", "a"), ("t", "1")],
        &["sensor:a:t=1@1700000000000"],
    );
}

#[test]
fn named_fields_take_the_place_of_the_conventional_ones() {
    let entry = [
        ("rack", "r1"),
        ("device", "9"),
        ("at", "5"),
        ("ts", "8"),
        ("t", "1"),
        ("u", "2"),
    ];
    assert_read(
        "DEVICE rack TIME at",
        &entry,
        &["sensor:r1:t=1@5000", "sensor:r1:u=2@5000"],
    );
    assert_read(
        "DEVICE rack TIME at VALUES 1 u",
        &entry,
        &["sensor:r1:u=2@5000"],
    );
    // A field that is named as a value is no device, whatever it is called, and is read.
    assert_read(
        "VALUES 2 sensor time",
        &[("sensor", "22"), ("id", "a"), ("time", "3")],
        &[
            "sensor:a:sensor=22@1700000000000",
            "sensor:a:time=3@1700000000000",
        ],
    );
    // What was named and is missing is not looked for elsewhere; for the time there is the id.
    assert_bad(
        "DEVICE rack",
        &[("device", "d"), ("t", "1")],
        "names no device: expected a field 'rack'",
    );
    assert_read(
        "TIME at",
        &[("id", "d"), ("ts", "5"), ("t", "1")],
        &["sensor:d:t=1@1700000000000"],
    );
}

#[test]
fn every_other_field_that_is_a_number_is_a_metric() {
    assert_read(
        "",
        &[
            ("device", "d"),
            ("id", "7"),
            ("sensor", "8"),
            ("t", "22.5"),
            ("status", "ok"),
            ("fan", "-1e3"),
            ("note", ""),
            ("label", "22 C"),
        ],
        &[
            "sensor:d:t=22.5@1700000000000",
            "sensor:d:fan=-1000@1700000000000",
        ],
    );
    // A field's own text is kept byte for byte, and each number of a repeated name is a reading.
    assert_read(
        "",
        &[
            ("device", "a"),
            ("t", "1"),
            ("t", "2"),
            ("device", "b"),
            ("ts", "1"),
            ("ts", "2"),
        ],
        &["sensor:b:t=1@2000", "sensor:b:t=2@2000"],
    );
}

#[test]
fn a_bad_metric_is_bad_alone() {
    for bad in ["nan", "inf", "-Infinity", "1e999"] {
        assert_eq!(
            told(items("", &[("id", "d"), ("t", bad), ("u", "1")])),
            [
                format!("t!field 't' holds '{bad}', which is not a finite number"),
                "sensor:d:u=1@1700000000000".into()
            ]
        );
    }
    assert_read(
        "VALUES 3 t u v",
        &[("id", "d"), ("t", "warm"), ("u", "1"), ("w", "2")],
        &[
            "t!field 't' holds 'warm', which is not a number",
            "sensor:d:u=1@1700000000000",
        ],
    );
    assert_read(
        "",
        &[("id", "d"), ("", "1")],
        &["!the name of a metric is empty"],
    );
}

#[test]
fn an_entry_without_a_number_is_bad() {
    assert_bad(
        "",
        &[("id", "d"), ("status", "ok")],
        "no field that is a number",
    );
    assert_bad("", &[("id", "d"), ("ts", "5")], "no field that is a number");
    assert_bad("", &[], "names no device");
    assert_bad("KEY all", &[], "no field that is a number");
    assert_bad(
        "VALUES 2 t u",
        &[("id", "d"), ("v", "1")],
        "none of the fields that VALUES",
    );
}

#[test]
fn a_pair_needs_both_its_fields() {
    let options = "METRIC m VALUE v";
    assert_bad(options, &[("id", "d"), ("v", "1")], "no field 'm'");
    assert_bad(
        options,
        &[("id", "d"), ("t", "1")],
        "neither the field 'm' nor 'v'",
    );
    assert_read(
        options,
        &[("id", "d"), ("m", "t"), ("x", "1")],
        &["t!the entry has no field 'v'"],
    );
    assert_read(
        options,
        &[("id", "d"), ("m", ""), ("v", "1")],
        &["!the name of a metric is empty"],
    );
    assert_read(
        options,
        &[("id", "d"), ("m", "t"), ("v", "hot")],
        &["t!field 'v' holds 'hot', which is not a number"],
    );
    // Several pairs go together in their order; a number too many is one more of the last metric.
    assert_read(
        options,
        &[
            ("id", "d"),
            ("m", "t"),
            ("v", "1"),
            ("m", "u"),
            ("v", "2"),
            ("v", "3"),
            ("x", "9"),
        ],
        &[
            "sensor:d:t=1@1700000000000",
            "sensor:d:u=2@1700000000000",
            "sensor:d:u=3@1700000000000",
        ],
    );
}

#[test]
fn the_device_is_needed_only_where_the_key_has_it() {
    assert_bad(
        "",
        &[("t", "1")],
        "expected a field 'device_id' or 'device' or 'sensor_id' or 'sensor' or 'id'",
    );
    assert_bad(
        "",
        &[("id", ""), ("t", "1")],
        "device's field 'id' is empty",
    );
    assert_read("KEY $metric", &[("t", "1")], &["t=1@1700000000000"]);
    let [Ok(reading)] = &items("KEY $metric", &[("id", "d"), ("t", "1")])[..] else {
        panic!("one reading");
    };
    assert_eq!(*reading.device, *b"d", "it is told where it is known");
}

#[test]
fn a_bad_time_is_bad_for_the_whole_entry() {
    for (time, why) in [
        ("-5", "before 1970"),
        ("1754300000000000", "beyond the year 9999"),
        ("yesterday", "'ts' holds 'yesterday', which is no time"),
        ("", "no time"),
        ("2025-07-28T10:00:00", "without a zone"),
    ] {
        assert_bad(
            "",
            &[("id", "d"), ("t", "1"), ("ts", time), ("u", "2")],
            why,
        );
    }
    let items = read_once(
        &watch(""),
        b"s",
        Some(u64::MAX),
        &pairs(&[("id", "d"), ("t", "1")]),
        false,
    );
    assert_eq!(
        told(items),
        [
            "-!the entry's id begins with 18446744073709551615, which is beyond the year 9999: expected Unix seconds or milliseconds"
        ]
    );
}

#[test]
fn a_json_object_is_read_like_fields() {
    let json = |payload: &str| told(items("JSON p", &[("p", payload)]));
    assert_eq!(
        json(
            r#" {"id":17,"t":"21.5","u":1e2,"nested":{"t":5},"list":[6],"on":true,"off":null,"ts":1754300000.5,"s":"x"} "#
        ),
        [
            "sensor:17:t=21.5@1754300000500",
            "sensor:17:u=100@1754300000500"
        ]
    );
    // As written: 0.1 and the largest integers are not rounded on the way, too large a number is bad alone.
    assert_eq!(
        json(r#"{"id":"d","t":0.1,"u":1e999,"v":"nan","w":9007199254740993}"#),
        [
            "sensor:d:t=0.1@1700000000000",
            "u!field 'u' holds '1e999', which is not a finite number",
            "v!field 'v' holds 'nan', which is not a finite number",
            "sensor:d:w=9007199254740992@1700000000000",
        ]
    );
    assert_eq!(
        json(r#"{"device":"a","device":"r\u00e4ck\n1","\u0074emp":1,"temp":2}"#),
        [
            "sensor:räck\n1:temp=1@1700000000000",
            "sensor:räck\n1:temp=2@1700000000000"
        ]
    );
    assert_eq!(
        json(r#"{"id":"d","ts":null,"t":1}"#),
        ["sensor:d:t=1@1700000000000"]
    );
    assert_read(
        "JSON p METRIC m VALUE v",
        &[("p", r#"{"sensor_id":"w","m":"humidity","v":"61"}"#)],
        &["sensor:w:humidity=61@1700000000000"],
    );
    assert_read(
        "JSON p VALUES 2 a b",
        &[("p", r#"{"id":"w","b":true,"a":5,"c":6}"#)],
        &[
            "b!field 'b' holds 'true', which is not a number",
            "sensor:w:a=5@1700000000000",
        ],
    );
}

#[test]
fn device_and_time_of_an_object_may_stand_beside_it() {
    let payload = r#"{"t":1}"#;
    assert_read(
        "JSON p",
        &[("device", "d"), ("ts", "5"), ("p", payload), ("x", "9")],
        &["sensor:d:t=1@5000"],
    );
    assert_read(
        "JSON p",
        &[
            ("device", "out"),
            ("p", r#"{"id":"in","t":1}"#),
            ("p", payload),
        ],
        &[
            "sensor:in:t=1@1700000000000",
            "sensor:out:t=1@1700000000000",
        ],
    );
}

#[test]
fn what_is_no_json_object_is_bad() {
    for (payload, why) in [
        ("", "field 'p' does not hold a JSON object"),
        ("{", "does not hold a JSON object: EOF"),
        ("[1]", "does not hold a JSON object"),
        ("5", "does not hold a JSON object"),
        ("{\"id\":\"d\",\"t\":NaN}", "does not hold a JSON object"),
        ("{\"id\":\"d\"}x", "does not hold a JSON object"),
        (r#"{"id":"d"}"#, "no field that is a number"),
        (r#"{"id":{},"t":1}"#, "'id' is neither a text nor a number"),
        (
            r#"{"id":true,"t":1}"#,
            "'id' is neither a text nor a number",
        ),
        (r#"{"t":1}"#, "names no device"),
        (r#"{"id":"d","t":1,"ts":{}}"#, "'{}', which is no time"),
    ] {
        assert_bad("JSON p", &[("p", payload)], why);
    }
    assert_bad("JSON p", &[("id", "d"), ("t", "1")], "no field 'p'");
    let fields: [(&[u8], &[u8]); 1] = [(b"p", b"{\"id\":\"\xff\"}")];
    assert!(read_once(&watch("JSON p"), b"s", MS, &fields, false)[0].is_err());
}

#[test]
fn large_entries_are_read_in_a_moment() {
    let start = std::time::Instant::now();
    let names: Vec<String> = (0..1000).map(|i| format!("f{i}")).collect();
    let mut fields = vec![("id", "d")];
    fields.extend(names.iter().map(|name| (name.as_str(), "1")));
    assert_eq!(
        items("", &fields)
            .iter()
            .filter(|item| item.is_ok())
            .count(),
        1000
    );
    let options = format!("VALUES 1000 {}", names.join(" "));
    assert_eq!(
        items(&options, &fields)
            .iter()
            .filter(|item| item.is_ok())
            .count(),
        1000
    );
    for byte in ["x", "1", "-", "[", "{", "\"", "\\", " "] {
        let long = byte.repeat(1 << 20);
        let _ = items("", &[("id", "d"), ("t", &long)]);
        let _ = items("", &[("id", "d"), ("ts", &long), ("t", "1")]);
        let _ = items("JSON p", &[("p", &long)]);
        let _ = items(
            "JSON p",
            &[("p", &format!("{{\"id\":\"d\",\"t\":1,\"x\":{long}}}"))],
        );
        let payload = format!("{{\"id\":\"d\",\"t\":1,\"x\":{:?}}}", long);
        let inside = items("JSON p", &[("p", &payload)]);
        assert!(matches!(&inside[0], Ok(reading) if *reading.metric == *b"t"));
    }
    let device = "d".repeat(1 << 20);
    assert_eq!(told(items("", &[("id", &device), ("t", "1")])).len(), 1);
    let same = vec![(&b"a"[..], &b"1"[..]); 5000];
    assert!(dead_payload(&same).contains("\"a#5000\""));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn on_a_cluster_a_stream_that_no_key_can_join_is_bad() {
    let entry = pairs(&[("id", "a{b}"), ("t", "1")]);
    for (stream, key) in [
        ("raw", Some("sensor:{raw}:a{b}:t")),
        ("{x}raw", Some("sensor:{x}:a{b}:t")),
        ("a{b", Some("sensor:{a{b}:a{b}:t")),
        ("a}b", None),
        ("{}raw", None),
        ("", None),
    ] {
        let items = read_once(&watch(""), stream.as_bytes(), MS, &entry, true);
        match (&items[..], key) {
            ([Ok(reading)], Some(key)) => assert_eq!(*reading.key, *key.as_bytes()),
            (
                [
                    Err(BadEntry {
                        metric: None,
                        reason,
                    }),
                ],
                None,
            ) => assert!(reason.contains("slot"), "{reason}"),
            (items, _) => panic!("{stream}: {items:?}"),
        }
    }
}

#[test]
fn a_dead_entry_is_told_field_by_field() {
    let fields: [(&[u8], &[u8]); 6] = [
        (b"z", b"1"),
        (b"a", b"\"quoted\"\n"),
        (b"a", b"\xff\x00"),
        (b"a#2", b"own"),
        (b"a", b"third"),
        (b"\xfe", "°C".as_bytes()),
    ];
    assert_eq!(
        dead_payload(&fields),
        r#"{"z":"1","a":"\"quoted\"\n","a#2":"\\xff\\x00","a#2#2":"own","a#3":"third","\\xfe":"°C"}"#
    );
    assert_eq!(dead_payload(&[]), "{}");
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[{}$a-c:\"0-9.,eE+-]{0,12}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "device_id",
            "id",
            "ts",
            "time",
            "m",
            "v",
            "p",
            "t",
            "nan",
            "1e999",
            "5",
            "-5",
            "1754300000",
            "2025-07-28T10:00:00Z",
            "{\"id\":1,\"t\":2}",
            "{\"t\":[[[{}]]]}",
            "{\"\\ud800\":1}",
            "",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ]
}

const WATCHES: [&str; 11] = [
    "METRIC t VALUE t",
    "KEY $device:$metric:$device",
    "KEY $metric",
    "VALUES 2 t v KEY $stream:$device DEVICE m",
    "",
    "METRIC m VALUE v",
    "VALUES 3 t v id",
    "JSON p",
    "JSON p METRIC m VALUE v KEY x:$metric",
    "KEY $stream:$device:$tag$$",
    "DEVICE t TIME v",
];

/// As many names as a shape is kept of, and more; longer ones, too.
#[test]
fn entries_of_any_size_are_read_between_others() {
    let (watch, mut kept) = (watch(""), Shape::default());
    let long = "n".repeat(600);
    for fields in [1, 5, 31, 32, 33, 200, 2, 33, 32] {
        for long in [None, Some(long.as_str())] {
            let names: Vec<String> = (0..fields).map(|n| format!("m{n}")).collect();
            let mut entry = vec![("id", "d")];
            entry.extend(names.iter().map(|name| (name.as_str(), "1")));
            entry.extend(long.map(|name| (name, "2")));
            let fields = pairs(&entry);
            for _ in 0..2 {
                let items = read_with(&watch, b"raw", MS, &fields, false, &mut kept);
                assert_eq!(items.len(), fields.len() - 1);
                assert_eq!(items, read_once(&watch, b"raw", MS, &fields, false));
            }
        }
    }
}

/// What is kept of a key is all but the device, which may be of any length.
#[test]
fn keys_are_the_templates_whatever_the_device() {
    for (key, expected) in [
        ("sensor:$device:$metric", "sensor:DEV:t"),
        ("$device", "DEV"),
        ("$metric/$stream:$device", "t/raw:DEV"),
        ("$device$device", "DEVDEV"),
        ("$$device:$tag$metric", "$device:rawt"),
    ] {
        for len in [1, 20, 50, 60, 64, 65, 300] {
            let device = "d".repeat(len);
            let items = items(&format!("KEY {key}"), &[("id", &device), ("t", "1")]);
            let expected = expected.replace("DEV", &device);
            assert_eq!(told(items), [format!("{expected}=1@1700000000000")]);
        }
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn no_entry_breaks_it_and_each_leaves_something(
        fields in prop::collection::vec((any_bytes(), any_bytes()), 0..8),
        stream in any_bytes(), ms in any::<u64>(), which in 0..WATCHES.len(), cluster in any::<bool>(),
    ) {
        let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let items = read_once(&watch(WATCHES[which]), &stream, Some(ms), &fields, cluster);
        prop_assert!(!items.is_empty());
        for item in items {
            match item {
                Ok(item) => prop_assert!(item.reading.value.is_finite() && !item.metric.is_empty()),
                Err(bad) => prop_assert!(bad.reason.len() < 1000 && !bad.reason.chars().any(char::is_control), "{:?}", bad.reason),
            }
        }
        let payload = dead_payload(&fields);
        let Ok(Json::Object(object)) = serde_json::from_str(&payload) else {
            return Err(TestCaseError::fail(payload));
        };
        prop_assert_eq!(object.len(), fields.len());
    }

    #[test]
    fn what_is_kept_of_an_entrys_names_never_makes_another_be_read_otherwise(
        entries in prop::collection::vec(prop::collection::vec((
            prop::sample::select(vec!["t", "v", "id", "m", "p", "ts", "time", "device", "tt", ""]),
            prop::sample::select(vec!["1", "2.5", "d", "5", "{\"t\":1,\"id\":\"x\"}", ""]),
        ), 0..5), 1..20),
        which in 0..WATCHES.len(), repeat in 1..3_usize,
    ) {
        let (watch, mut kept) = (watch(WATCHES[which]), Shape::default());
        for fields in entries.iter().flat_map(|fields| std::iter::repeat_n(fields, repeat)) {
            let fields = pairs(fields);
            let items = read_with(&watch, b"raw", MS, &fields, false, &mut kept);
            prop_assert_eq!(items, read_once(&watch, b"raw", MS, &fields, false));
        }
    }

    #[test]
    fn each_number_of_a_plain_entry_is_one_reading(
        numbers in prop::collection::vec(("[a-z]{6,9}", crate::testing::any_value()), 1..20),
        words in prop::collection::vec(("[A-Z]{3}", "[a-hj-m]{1,5}"), 0..20),
        order in any::<prop::sample::Index>(),
    ) {
        let written: Vec<(String, String)> = numbers.iter().filter(|(name, _)| !matches!(name.as_str(), "device" | "sensor" | "timestamp"))
            .map(|(name, x)| (name.clone(), crate::text::number(*x))).collect();
        let mut fields: Vec<(&str, &str)> = written.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        fields.extend(words.iter().map(|(n, v)| (&n[..], &v[..])));
        fields.push(("sensor_id", "d"));
        let middle = order.index(fields.len());
        fields.rotate_left(middle);
        let items = items("", &fields);
        let ok: Vec<f64> = items.iter().flatten().map(|item| item.reading.value).collect();
        if written.is_empty() {
            prop_assert!(items[0].is_err());
        } else {
            prop_assert_eq!(ok.len(), written.len());
            prop_assert_eq!(items.len(), written.len());
            // The same as an object.
            let object: Vec<String> = fields.iter().map(|(n, v)| format!("{n:?}:{}", if written.iter().any(|w| w.0 == *n) { (*v).to_owned() } else { format!("{v:?}") })).collect();
            let json = format!("{{{}}}", object.join(","));
            let inside = read_once(&watch("JSON p"), b"raw", MS, &[(b"p", json.as_bytes())], false);
            let told_there = items.into_iter().map(|item| item.map(|reading| {
                let field = reading.field.map(|at| fields[at]);
                assert_eq!(field, Some((std::str::from_utf8(&reading.metric).unwrap(), &crate::text::number(reading.reading.value)[..])));
                EntryReading { field: None, ..reading }
            }));
            prop_assert_eq!(inside, told_there.collect::<Items<'_>>());
        }
    }

    #[test]
    fn a_template_that_is_accepted_never_leaves_the_slot(
        template in "[a-b:]{0,3}([{]?[$](tag|device|metric|stream|[$])[}]?|[{][a-c]{0,2}[}]|[{}a-c:]){0,5}",
        pattern in prop_oneof!["[a-c{}]{1,8}", "[a-c{}*?\\\\]{1,8}"],
        stream in prop::collection::vec(prop::sample::select(b"ab{}:*".to_vec()), 0..8),
        device in any_bytes(), metric in any_bytes(),
    ) {
        let options: [&[u8]; 2] = [b"KEY", template.as_bytes()];
        if let Ok((watch, _)) = parse_set(pattern.as_bytes(), &options, true) {
            let exact = crate::glob::exact(pattern.as_bytes());
            let stream = exact.clone().unwrap_or(stream);
            let key = watch.template(true).render(&device, &metric, &stream);
            let tag = hash_tag(&stream);
            // A pattern cannot tell whether a stream's name has a stray brace; reading its entries does.
            if exact.is_some() || !(tag.is_empty() || tag.contains(&b'}')) {
                prop_assert_eq!(hash_tag(&key), tag);
                prop_assert!(key::check_slot(b"anomaly:alerts", &key).is_ok());
            }
            let fields: [(&[u8], &[u8]); 2] = [(b"id", &device), (b"t", b"1")];
            for item in read_once(&watch, &stream, MS, &fields, true).into_iter().flatten() {
                prop_assert_eq!(hash_tag(&item.key), tag);
            }
        }
    }
}
