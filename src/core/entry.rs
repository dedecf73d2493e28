//! Readings from the entries of a watched stream.
//!
//! Which field is what is seen from the names alone, and kept in mind for entries with the same names ([`Shape`]). An entry in
//! which nothing is bad is read in the usual way ([`crate::plain`]), any other by looking at each of its fields; nothing is copied
//! but what the readings keep. A JSON object becomes such fields first.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};
use smallvec::SmallVec;

use crate::instant;
use crate::key::hash_tag;
use crate::plain::{Common, Usually};
use crate::reading::Reading;
use crate::shape::Shape;
use crate::template::Template;
use crate::text::{escaped, shown};
use crate::units::{Timestamp, number};
use crate::watch::{Values, Watch};

/// A sensor's key as a template makes it.
pub type Key = crate::key::Name;

/// The readings of an entry. The usual ones need no heap.
pub type Items<'a> = SmallVec<[Item<'a>; 2]>;

/// A reading of an entry, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryReading<'a> {
    /// The sensor's key.
    pub key: Key,
    /// The device, empty where none is known.
    pub device: Cow<'a, [u8]>,
    /// The metric, never empty.
    pub metric: Cow<'a, [u8]>,
    /// Position of the field that holds the number, unless it is a member of a JSON object.
    pub field: Option<usize>,
    /// The number and its time.
    pub reading: Reading,
}

/// An entry, or one metric of it, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// The metric; `None`: the whole entry.
    pub metric: Option<Vec<u8>>,
    /// A sentence a person understands.
    pub reason: String,
}

/// What became of one metric of an entry, or of the entry.
pub type Item<'a> = Result<EntryReading<'a>, BadEntry>;

/// The readings of an entry, in its order. What is bad about one metric stands in its place, what is bad about the whole
/// entry stands alone. There is always at least one of either. The milliseconds of its id may be unknown where
/// [`Shape::finds_time`]. The shape must be of this watch and stream, and of the names of these values.
#[must_use]
pub fn read<'a>(
    watch: &Watch,
    stream: &[u8],
    ms: Option<u64>,
    shape: &'a Shape,
    values: &[&'a [u8]],
    cluster: bool,
) -> Items<'a> {
    let value = |position: usize| values.get(position).copied().unwrap_or_default();
    if !cluster
        && let Some(entry) = Usually::new(watch, stream, ms, shape, value)
        && let Some(all) = entry.all()
    {
        let common = &entry.common;
        let found = all.into_iter();
        return found.map(|found| Ok(found.with(common))).collect();
    }
    read_each(watch, stream, ms, shape, values, cluster)
}

/// The same by looking at each field.
fn read_each<'a>(
    watch: &Watch,
    stream: &[u8],
    ms: Option<u64>,
    shape: &'a Shape,
    values: &[&'a [u8]],
    cluster: bool,
) -> Items<'a> {
    let plain = |position: usize| {
        Some(Field {
            name: shape.name(position),
            value: values.get(position)?,
            scalar: true,
            position: Some(position),
        })
    };
    let outside = Roles {
        device: shape.device().and_then(plain),
        time: shape.time().and_then(plain),
    };
    let entry = Entry {
        watch,
        stream,
        ms,
        template: watch.template(cluster),
        cluster,
    };
    let mut items = Items::new();
    let Some(json) = watch.json() else {
        let readable = shape.readable().iter().copied().filter_map(plain);
        if let Err(reason) = entry.readings(outside, readable, &mut items) {
            items.clear();
            items.push(whole(reason));
        }
        return items;
    };
    let payloads = (0..values.len()).filter_map(plain);
    for payload in payloads.filter(|field| field.name == json) {
        let read = members(payload).and_then(|members| {
            let inside = members.iter().map(Member::field);
            let roles = Roles::of(watch, inside.clone()).or(outside);
            let readable = inside.filter(|field| watch.may_be_read(field.name));
            let mut items = Items::new();
            entry.readings(roles, readable, &mut items)?;
            Ok(items.into_iter().map(kept).collect::<Items<'_>>())
        });
        match read {
            Ok(inside) => items.extend(inside),
            Err(reason) => items.push(whole(reason)),
        }
    }
    if items.is_empty() {
        items.push(whole(missing(json)));
    }
    items
}

/// An entry's fields as a JSON object, for the dead letters: in their order, with a repeated name as `name#2`, and bytes
/// that are not UTF-8 escaped.
#[must_use]
pub fn dead_payload(fields: &[(&[u8], &[u8])]) -> String {
    let text = |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => escaped(bytes),
    };
    let mut object: Map<String, Json> = Map::with_capacity(fields.len());
    // How often a name stood so far: without it, a thousand fields of one name are half a million look-ups.
    let mut times: std::collections::HashMap<&[u8], usize> = std::collections::HashMap::new();
    for (name, value) in fields {
        let mut unique = text(name);
        let stem = unique.len();
        let nth = times.entry(name).or_insert(1);
        while object.contains_key(&unique) {
            *nth += 1;
            unique.truncate(stem);
            unique.push_str(&format!("#{nth}"));
        }
        object.insert(unique, text(value).into());
    }
    Json::Object(object).to_string()
}

/// A field of an entry or a member of an object.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// A text or a number, and no array, object or truth value of JSON.
    scalar: bool,
    /// Which field of the entry it is.
    position: Option<usize>,
}

/// The fields that tell device and time.
#[derive(Clone, Copy)]
struct Roles<'a> {
    device: Option<Field<'a>>,
    time: Option<Field<'a>>,
}

impl<'a> Roles<'a> {
    fn of(watch: &Watch, fields: impl Iterator<Item = Field<'a>> + Clone) -> Self {
        Self {
            device: first(watch.devices(), fields.clone(), |field| field.name),
            time: first(watch.times(), fields, |field| field.name),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            device: self.device.or(other.device),
            time: self.time.or(other.time),
        }
    }
}

/// The field with the first of the names that there is; of two with one name the last.
pub(crate) fn first<'a, T>(
    names: &[Vec<u8>],
    fields: impl Iterator<Item = T>,
    name_of: impl Fn(&T) -> &'a [u8],
) -> Option<T> {
    let rank = |field: T| {
        let rank = names.iter().position(|name| name == name_of(&field))?;
        Some((rank, field))
    };
    fields
        .filter_map(rank)
        .reduce(|best, found| if found.0 <= best.0 { found } else { best })
        .map(|(_, field)| field)
}

/// An entry beside its fields.
struct Entry<'a> {
    watch: &'a Watch,
    stream: &'a [u8],
    ms: Option<u64>,
    template: &'a Template,
    cluster: bool,
}

impl Entry<'_> {
    /// The readings of the fields that may be read; an error is one of the whole entry.
    fn readings<'a>(
        &self,
        roles: Roles<'a>,
        fields: impl Iterator<Item = Field<'a>> + Clone,
        items: &mut Items<'a>,
    ) -> Result<(), String> {
        let common = Common {
            device: self.device(roles)?,
            at: self.time(roles)?,
        };
        match self.watch.values() {
            Values::Numbers => {
                for field in fields {
                    if let Some(value) = number(field.value) {
                        self.item(&common, field.name, field, Some(value), items)?;
                    }
                }
                if items.is_empty() {
                    return Err(
                        "the entry has no field that is a number and neither its device nor its time"
                            .into(),
                    );
                }
            }
            Values::Named(_) => {
                for field in fields {
                    self.item(&common, field.name, field, number(field.value), items)?;
                }
                if items.is_empty() {
                    return Err(
                        "the entry has none of the fields that VALUES of its watch names".into(),
                    );
                }
            }
            Values::Pair { metric, value } => {
                let mut names = fields.clone().filter(|field| field.name == metric);
                let mut values = fields.filter(|field| field.name == value);
                let mut newest = None;
                loop {
                    let (name, value_field) = (names.next(), values.next());
                    newest = name.or(newest);
                    match (name, value_field, newest) {
                        (None, None, _) => break,
                        (_, Some(_), None) => return Err(missing(metric)),
                        (_, Some(field), Some(name)) if name.scalar => {
                            let number = number(field.value);
                            self.item(&common, name.value, field, number, items)?;
                        }
                        (Some(name), None, _) if name.scalar => {
                            items.push(bad(name.value, missing(value)));
                        }
                        (_, _, _) => {
                            return Err(format!("field '{}' is not a text", shown(metric)));
                        }
                    }
                }
                if items.is_empty() {
                    return Err(format!(
                        "the entry has neither the field '{}' nor '{}'",
                        shown(metric),
                        shown(value)
                    ));
                }
            }
        }
        Ok(())
    }

    fn device<'a>(&self, roles: Roles<'a>) -> Result<&'a [u8], String> {
        let told = roles.device.filter(|field| field.scalar);
        let device = told.map_or(&b""[..], |field| field.value);
        if !device.is_empty() || !self.template.uses_device() {
            return Ok(device);
        }
        if let Some(field) = roles.device {
            let lacks = if field.scalar {
                "is empty"
            } else {
                "is neither a text nor a number"
            };
            return Err(format!(
                "the device's field '{}' {lacks}",
                shown(field.name)
            ));
        }
        let names: Vec<String> = self
            .watch
            .devices()
            .iter()
            .map(|name| format!("'{}'", shown(name)))
            .collect();
        Err(format!(
            "the entry names no device: expected a field {}",
            names.join(" or ")
        ))
    }

    fn time(&self, roles: Roles<'_>) -> Result<Timestamp, String> {
        match roles.time {
            Some(field) => instant::parse(field.value).map_err(|why| {
                let (name, value) = (shown(field.name), shown(field.value));
                format!("field '{name}' holds '{value}', which is {why}")
            }),
            None => {
                let ms = self.ms.unwrap_or_default();
                instant::of_id(ms)
                    .map_err(|why| format!("the entry's id begins with {ms}, which is {why}"))
            }
        }
    }

    /// Adds the reading of one metric, whose field holds that number; an error is one of the whole entry.
    fn item<'a>(
        &self,
        common: &Common<'a>,
        metric: &'a [u8],
        field: Field<'a>,
        value: Option<f64>,
        items: &mut Items<'a>,
    ) -> Result<(), String> {
        let lacks = match value {
            _ if metric.is_empty() => None,
            Some(value) if value.is_finite() => {
                return self.add(common, metric, field, value, items);
            }
            Some(_) => Some("not a finite number"),
            None => Some("not a number"),
        };
        let (name, value) = (shown(field.name), shown(field.value));
        let reason = lacks.map_or_else(
            || "the name of a metric is empty".into(),
            |lacks| format!("field '{name}' holds '{value}', which is {lacks}"),
        );
        items.push(bad(metric, reason));
        Ok(())
    }

    fn add<'a>(
        &self,
        common: &Common<'a>,
        metric: &'a [u8],
        field: Field<'a>,
        value: f64,
        items: &mut Items<'a>,
    ) -> Result<(), String> {
        let key = self.template.render(common.device, metric, self.stream);
        if self.cluster && hash_tag(&key) != hash_tag(self.stream) {
            return Err(
                "no key can lie in the slot of this stream, whose name is empty or has a stray brace"
                    .into(),
            );
        }
        items.push(Ok(EntryReading {
            key,
            device: common.device.into(),
            metric: metric.into(),
            field: field.position,
            reading: Reading {
                at: common.at,
                value,
            },
        }));
        Ok(())
    }
}

/// What outlives the object it was read from.
fn kept<'a>(item: Item<'_>) -> Item<'a> {
    item.map(|reading| EntryReading {
        device: reading.device.into_owned().into(),
        metric: reading.metric.into_owned().into(),
        ..reading
    })
}

fn bad<'a>(metric: &[u8], reason: String) -> Item<'a> {
    Err(BadEntry {
        metric: Some(metric.to_vec()),
        reason,
    })
}

fn whole<'a>(reason: String) -> Item<'a> {
    Err(BadEntry {
        metric: None,
        reason,
    })
}

fn missing(field: &[u8]) -> String {
    format!("the entry has no field '{}'", shown(field))
}

/// A text of JSON, borrowed unless something in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A member of an object. Only texts with escapes are copied.
struct Member<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    scalar: bool,
}

impl<'a> Member<'a> {
    /// A member as a field; one that is null is as if it were not there.
    fn new(name: Cow<'a, str>, raw: &'a RawValue) -> Option<Self> {
        let raw = raw.get();
        let (value, scalar) = match raw.as_bytes().first()? {
            b'n' => return None,
            b'"' => match serde_json::from_str::<Text<'a>>(raw) {
                Ok(text) => (text.0, true),
                Err(_) => (Cow::Borrowed(raw), false),
            },
            first => (Cow::Borrowed(raw), first.is_ascii_digit() || *first == b'-'),
        };
        Some(Self {
            name,
            value,
            scalar,
        })
    }

    fn field(&self) -> Field<'_> {
        Field {
            name: self.name.as_bytes(),
            value: self.value.as_bytes(),
            scalar: self.scalar,
            position: None,
        }
    }
}

/// The members of the object in a field. Numbers stay the text they are: one that is too large is bad alone.
fn members(payload: Field<'_>) -> Result<Vec<Member<'_>>, String> {
    serde_json::from_slice::<Members<'_>>(payload.value)
        .map(|members| members.0)
        .map_err(|error| {
            let name = shown(payload.name);
            match error.classify() {
                Category::Data => format!("field '{name}' does not hold a JSON object"),
                Category::Io | Category::Syntax | Category::Eof => {
                    format!("field '{name}' does not hold a JSON object: {error}")
                }
            }
        })
}

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.extend(Member::new(name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
