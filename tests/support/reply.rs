//! Reading replies, the same for RESP2 and RESP3. Each function fails the test, showing the reply, when it is of another shape.

use redis::Value;

/// The text of an error reply (`ERR …`), also of one inside an array.
pub fn error(reply: &Value) -> Option<String> {
    let Value::ServerError(error) = reply else {
        return None;
    };
    Some(match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    })
}

/// The bytes of a bulk or simple string.
pub fn bytes(reply: &Value) -> Vec<u8> {
    match reply {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone().into_bytes(),
        Value::Okay => b"OK".to_vec(),
        other => panic!("not a string: {other:?}"),
    }
}

/// A string, or a number as text.
pub fn text(reply: &Value) -> String {
    match reply {
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        other => String::from_utf8(bytes(other)).unwrap_or_else(|_| panic!("not UTF-8: {other:?}")),
    }
}

/// An integer.
pub fn int(reply: &Value) -> i64 {
    match reply {
        Value::Int(number) => *number,
        other => text(other)
            .parse()
            .unwrap_or_else(|_| panic!("not an integer: {other:?}")),
    }
}

/// A double, or a number as a string, which is what RESP2 has for it.
pub fn float(reply: &Value) -> f64 {
    match reply {
        Value::Double(number) => *number,
        other => text(other)
            .parse()
            .unwrap_or_else(|_| panic!("not a number: {other:?}")),
    }
}

/// Whether it is nil.
pub fn is_nil(reply: &Value) -> bool {
    matches!(reply, Value::Nil)
}

/// The items of an array or a set.
pub fn list(reply: &Value) -> Vec<Value> {
    match reply {
        Value::Array(items) | Value::Set(items) => items.clone(),
        other => panic!("not an array: {other:?}"),
    }
}

/// The pairs of a map, or of the flat array that RESP2 has for it, in their order.
pub fn pairs(reply: &Value) -> Vec<(String, Value)> {
    match reply {
        Value::Map(pairs) => pairs
            .iter()
            .map(|(name, value)| (text(name), value.clone()))
            .collect(),
        Value::Array(items) if items.len() % 2 == 0 => items
            .chunks_exact(2)
            .map(|pair| (text(&pair[0]), pair[1].clone()))
            .collect(),
        other => panic!("not a map: {other:?}"),
    }
}

/// One value of a map.
pub fn field(reply: &Value, name: &str) -> Value {
    let found = pairs(reply).into_iter().find(|(key, _)| key == name);
    found
        .unwrap_or_else(|| panic!("no field {name:?} in {reply:?}"))
        .1
}

/// Stream entries as XRANGE replies them: the id and the fields in their order.
pub fn entries(reply: &Value) -> Vec<(String, Vec<(String, String)>)> {
    let entry = |item: &Value| {
        let parts = list(item);
        let fields = pairs(&parts[1])
            .into_iter()
            .map(|(name, value)| (name, text(&value)));
        (text(&parts[0]), fields.collect())
    };
    list(reply).iter().map(entry).collect()
}
