//! One alert as it stands in the stream, and how it is shown: a line for a person or a line of JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

use redis::Value;
use serde_json::{Map, Number, Value as Json};

use crate::moment;
use crate::terminal::{commands_terminal, harmless};

/// Fields that are numbers in JSON. In the stream everything is text, and to compare text with a number is a trap: in `jq`
/// every string is greater than every number.
const NUMBERS: [&str; 9] = [
    "v",
    "ts",
    "start",
    "value",
    "expected",
    "lower",
    "upper",
    "score",
    "threshold",
];

/// An entry of an alerts stream: field names and values, in the stream's order, as bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alert {
    /// Id of the entry in its stream.
    pub(crate) entry: String,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An entry that was delivered but no longer exists has an id and no fields.
pub(crate) struct Trimmed;

impl Alert {
    /// Reads `[id, [name, value, …]]`.
    pub(crate) fn from_entry(entry: &Value) -> Option<Result<Self, Trimmed>> {
        let Value::Array(parts) = entry else {
            return None;
        };
        let [id, fields] = parts.as_slice() else {
            return None;
        };
        let entry = String::from_utf8_lossy(bytes(id)?).into_owned();
        let flat: Vec<&[u8]> = match fields {
            Value::Array(flat) => flat.iter().map(bytes).collect::<Option<_>>()?,
            Value::Map(pairs) => pairs
                .iter()
                .flat_map(|(name, value)| [bytes(name), bytes(value)])
                .collect::<Option<_>>()?,
            Value::Nil => return Some(Err(Trimmed)),
            _ => return None,
        };
        let pair = |pair: &[&[u8]]| match pair {
            [name, value] => Some((name.to_vec(), value.to_vec())),
            _ => None,
        };
        let fields = flat.chunks(2).map(pair).collect::<Option<_>>()?;
        Some(Ok(Self { entry, fields }))
    }

    /// The bytes of a field; empty where there is none.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        let field = self
            .fields
            .iter()
            .find(|(field, _)| field == name.as_bytes());
        field.map_or(&[], |(_, value)| value)
    }

    /// A field for showing: whatever could drive a terminal is escaped.
    pub(crate) fn text(&self, name: &str) -> String {
        harmless(self.bytes(name))
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        std::str::from_utf8(self.bytes(name)).ok()?.parse().ok()
    }

    /// What makes two entries the same alert: the module's `id`; for an entry that somebody else wrote, the entry's own.
    pub(crate) fn id(&self) -> String {
        match self.bytes("id") {
            [] => self.entry.clone(),
            _ => self.text("id").replace(char::is_whitespace, "_"),
        }
    }

    /// One line: time, severity, event, sensor, value, band, reason, id.
    pub(crate) fn line(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let at = self
            .number("ts")
            .map_or_else(|| self.text("ts"), moment::show);
        let (severity, event) = (self.text("severity"), self.text("event"));
        let severity = match severity.as_str() {
            "critical" => paint.with("1;31", "CRITICAL"),
            "warning" => paint.with("33", "WARNING "),
            other => format!("{other:<8}"),
        };
        let event = match event.as_str() {
            "resolved" => paint.with("32", "resolved "),
            "ack" => paint.with("36", "ack      "),
            other => format!("{other:<9}"),
        };
        let mut line = format!(
            "{at}  {severity}  {event}  {}",
            paint.with("1", &self.text("sensor"))
        );
        let _ = write!(line, "  {}", self.measured());
        if let Some(band) = self.band() {
            let _ = write!(line, "  {band}");
        }
        let reason = self.text("reason");
        let _ = write!(line, "  {reason}");
        // The module's own reason says who; that of another writer may not.
        if !self.bytes("by").is_empty() && !reason.starts_with("acknowledged by ") {
            let _ = write!(line, " by {}", self.text("by"));
        }
        if !self.bytes("comment").is_empty() {
            let _ = write!(line, " ({})", self.text("comment"));
        }
        let _ = write!(line, "  {}", paint.with("2", &format!("id={}", self.id())));
        line
    }

    /// Value and unit.
    fn measured(&self) -> String {
        let value = self.short("value").unwrap_or_default();
        match self.bytes("unit") {
            [] => value,
            b"%" => format!("{value}%"),
            _ => format!("{value} {}", self.text("unit")),
        }
    }

    /// `[lower … upper]` as far as known: what would have been normal.
    fn band(&self) -> Option<String> {
        match (self.short("lower"), self.short("upper")) {
            (None, None) => None,
            (Some(lower), None) => Some(format!("[{lower} …]")),
            (None, Some(upper)) => Some(format!("[… {upper}]")),
            (Some(lower), Some(upper)) => Some(format!("[{lower} … {upper}]")),
        }
    }

    /// A number to six digits: a person reads `21.0342`, not what a 64-bit float remembers. `None` for `-` and nothing.
    fn short(&self, name: &str) -> Option<String> {
        match self.bytes(name) {
            [] | b"-" => None,
            _ => Some(
                self.number(name)
                    .map_or_else(|| self.text(name), six_digits),
            ),
        }
    }

    /// One line of JSON: the fields in the stream's order, then the stream and the entry's id.
    pub(crate) fn json(&self, stream: &str) -> String {
        let mut map = Map::new();
        for (name, value) in &self.fields {
            map.insert(utf8(name).into_owned(), json_value(name, value));
        }
        map.insert(String::from("stream"), Json::String(stream.to_owned()));
        map.insert(String::from("entry"), Json::String(self.entry.clone()));
        let mut line = String::new();
        for character in Json::Object(map).to_string().chars() {
            if commands_terminal(character) {
                // Only inside of strings can one occur, and there JSON has an escape for it.
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            } else {
                line.push(character);
            }
        }
        line
    }
}

/// JSON has no bytes: what is not UTF-8 is shown as `\xff`.
fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(harmless(bytes)),
    }
}

fn json_value(name: &[u8], value: &[u8]) -> Json {
    let text = utf8(value);
    if NUMBERS.iter().any(|number| number.as_bytes() == name) {
        if let Ok(whole) = text.parse::<i64>() {
            return Json::Number(whole.into());
        }
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            return Json::Number(number);
        }
    }
    Json::String(text.into_owned())
}

fn six_digits(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{number:.5e}");
    }
    let before = if size < 1.0 {
        1
    } else {
        size.log10() as usize + 1
    };
    let text = format!("{number:.*}", 6usize.saturating_sub(before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The bytes of a string reply.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::{Alert, six_digits};
    use redis::Value;

    /// An alert with the given fields besides a complete set.
    pub(crate) fn alert(entry: &str, changed: &[(&str, &[u8])]) -> Alert {
        let usual: [(&str, &[u8]); 14] = [
            ("v", b"1"),
            ("event", b"firing"),
            ("id", b"a1b2"),
            ("episode", b"a1"),
            ("sensor", b"rack:01:temperature"),
            ("severity", b"critical"),
            ("kind", b"range"),
            ("ts", b"1372896000000"),
            ("value", b"31.900000000000002"),
            ("unit", "°C".as_bytes()),
            ("upper", b"28"),
            ("score", b"0.53"),
            ("rule", b"rack:*"),
            (
                "reason",
                "31.9 °C is above the limit 28 (critical at 30)".as_bytes(),
            ),
        ];
        let mut flat = Vec::new();
        for (name, value) in usual {
            let value = changed
                .iter()
                .find(|(field, _)| *field == name)
                .map_or(value, |(_, value)| value);
            flat.extend([name.as_bytes(), value].map(|bytes| Value::BulkString(bytes.to_vec())));
        }
        let id = Value::BulkString(entry.as_bytes().to_vec());
        let entry = Value::Array(vec![id, Value::Array(flat)]);
        Alert::from_entry(&entry).unwrap().ok().unwrap()
    }

    #[test]
    fn a_line_says_it_all_in_the_order_one_asks() {
        assert_eq!(
            alert("5-0", &[]).line(false),
            "2013-07-04 00:00:00Z  CRITICAL  firing     rack:01:temperature  31.9 °C  [… 28]  \
             31.9 °C is above the limit 28 (critical at 30)  id=a1b2"
        );
    }

    #[test]
    fn colour_is_only_where_it_was_asked_for() {
        assert!(
            alert("5-0", &[])
                .line(true)
                .contains("\x1b[1;31mCRITICAL\x1b[0m")
        );
        assert!(!alert("5-0", &[]).line(false).contains('\x1b'));
    }

    #[test]
    fn nothing_in_an_alert_drives_the_terminal_or_breaks_the_line() {
        let evil: &[u8] = b"a\x1b]0;owned\x07\nb\xc2\x9b31m\xff";
        let all: Vec<(&str, &[u8])> = [
            "sensor", "reason", "unit", "severity", "event", "value", "ts", "id", "upper",
        ]
        .map(|name| (name, evil))
        .to_vec();
        let alert = alert("5-0", &all);
        for line in [alert.line(false), alert.json("anomaly:alerts")] {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn json_keeps_the_order_and_makes_numbers_of_numbers() {
        let line = alert(
            "5-0",
            &[("sensor", "r\"1\u{9b}".as_bytes()), ("value", b"nan")],
        )
        .json("anomaly:alerts");
        assert!(
            line.starts_with(r#"{"v":1,"event":"firing","id":"a1b2","#),
            "{line}"
        );
        assert!(
            line.ends_with(r#""stream":"anomaly:alerts","entry":"5-0"}"#),
            "{line}"
        );
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back.get("sensor").unwrap(), "r\"1\u{9b}");
        assert_eq!(back.get("value").unwrap(), "nan");
        assert_eq!(back.get("ts").unwrap(), 1_372_896_000_000_i64);
    }

    #[test]
    fn an_entry_that_is_gone_is_told_from_an_odd_one() {
        let id = Value::BulkString(b"5-0".to_vec());
        assert!(matches!(
            Alert::from_entry(&Value::Array(vec![id.clone(), Value::Nil])),
            Some(Err(_))
        ));
        assert!(Alert::from_entry(&Value::Array(vec![id])).is_none());
    }

    #[test]
    fn numbers_are_shown_to_six_digits() {
        for (number, text) in [
            (0.0, "0"),
            (21.034_234_5, "21.0342"),
            (-0.000_123_456, "-0.00012"),
            (1_234_567.8, "1234568"),
            (100.0, "100"),
            (1e300, "1.00000e300"),
        ] {
            assert_eq!(six_digits(number), text);
        }
    }
}
