//! Watches: which streams are read, and where in their entries device, time, metrics and values stand.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Error;
use crate::glob::{self, Specificity};
use crate::template::Template;

/// Longest name of a field, in bytes.
const LONGEST_FIELD: usize = 1024;
/// Most fields that VALUES may name.
pub const MOST_VALUES: usize = 1000;

/// Fields that name the device unless the watch says which, the first one present.
pub const DEVICES: [&[u8]; 5] = [b"device_id", b"device", b"sensor_id", b"sensor", b"id"];
/// Fields that hold the time unless the watch says which, the first one present.
pub const TIMES: [&[u8]; 3] = [b"timestamp", b"ts", b"time"];

/// What a watch sets, as given: everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// DEVICE field
    pub device: Option<Vec<u8>>,
    /// TIME field
    pub time: Option<Vec<u8>>,
    /// METRIC field
    pub metric: Option<Vec<u8>>,
    /// VALUE field
    pub value: Option<Vec<u8>>,
    /// VALUES n field …
    pub values: Option<Vec<Vec<u8>>>,
    /// JSON field
    pub json: Option<Vec<u8>>,
    /// KEY template
    pub key: Option<Vec<u8>>,
}

/// One thing a watch sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A field or the template.
    One(&'a [u8]),
    /// The fields of VALUES.
    Many(&'a [Vec<u8>]),
}

/// Which fields of an entry are readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values<'a> {
    /// Every field that is a number and nothing else.
    Numbers,
    /// One field with the metric's name, one with its value.
    Pair { metric: &'a [u8], value: &'a [u8] },
    /// Those that were named.
    Named(&'a HashSet<Vec<u8>>),
}

/// How the entries of the streams that match a pattern are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pattern: Arc<[u8]>,
    specificity: Specificity,
    given: Given,
    devices: Box<[Vec<u8>]>,
    times: Box<[Vec<u8>]>,
    named: HashSet<Vec<u8>>,
    template: Option<Template>,
}

impl Watch {
    /// A watch of the streams that match `pattern`.
    ///
    /// # Errors
    /// [`Error::Pattern`], [`Error::Length`], [`Error::Without`], [`Error::Excluded`], [`Error::Twice`],
    /// [`Error::Template`]: what was given is not complete, or contradicts itself.
    pub fn new(pattern: &[u8], given: Given) -> Result<Self, Error> {
        glob::checked(pattern)?;
        for (name, field) in [
            ("DEVICE", &given.device),
            ("TIME", &given.time),
            ("METRIC", &given.metric),
            ("VALUE", &given.value),
            ("JSON", &given.json),
        ] {
            if let Some(field) = field {
                check_field(name, field)?;
            }
        }
        match (&given.metric, &given.value, &given.values) {
            (Some(_), None, None) => Err(Error::Without {
                name: "METRIC",
                other: "VALUE",
            }),
            (None, Some(_), None) => Err(Error::Without {
                name: "VALUE",
                other: "METRIC",
            }),
            (Some(_), _, Some(_)) => Err(Error::Excluded {
                name: "METRIC",
                other: "VALUES",
            }),
            (_, Some(_), Some(_)) => Err(Error::Excluded {
                name: "VALUE",
                other: "VALUES",
            }),
            _ => Ok(()),
        }?;
        let mut named = HashSet::new();
        if let Some(fields) = &given.values {
            if fields.is_empty() || fields.len() > MOST_VALUES {
                return Err(Error::Values);
            }
            for field in fields {
                check_field("VALUES", field)?;
                if !named.insert(field.clone()) {
                    return Err(Error::Twice {
                        name: field.clone(),
                    });
                }
            }
        }
        let template = given.key.as_deref().map(Template::parse).transpose()?;
        let mut watch = Self {
            pattern: pattern.into(),
            specificity: glob::specificity(pattern),
            devices: Box::default(),
            times: Box::default(),
            named,
            template,
            given,
        };
        watch.devices = watch.candidates(watch.given.device.as_ref(), &DEVICES);
        watch.times = watch.candidates(watch.given.time.as_ref(), &TIMES);
        Ok(watch)
    }

    /// Where to look: in the field that was named, else in the conventional ones. A field that was named for something
    /// else has no second meaning.
    fn candidates(&self, field: Option<&Vec<u8>>, conventional: &[&[u8]]) -> Box<[Vec<u8>]> {
        let free = |name: &&&[u8]| !self.is_given(name);
        match field {
            Some(field) => Box::new([field.clone()]),
            None => conventional
                .iter()
                .filter(free)
                .map(|name| name.to_vec())
                .collect(),
        }
    }

    fn is_given(&self, name: &[u8]) -> bool {
        let Given {
            device,
            time,
            metric,
            value,
            json,
            ..
        } = &self.given;
        [device, time, metric, value, json]
            .into_iter()
            .flatten()
            .any(|field| field == name)
            || self.named.contains(name)
    }

    /// The glob over the keys of streams.
    #[must_use]
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }

    /// What it sets and nothing else, in the order of the syntax.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Part<'_>)> {
        let Given {
            device,
            time,
            metric,
            value,
            values,
            json,
            key,
        } = &self.given;
        [
            one("device", device),
            one("time", time),
            one("metric", metric),
            one("value", value),
            values
                .as_deref()
                .map(|fields| ("values", Part::Many(fields))),
            one("json", json),
            one("key", key),
        ]
        .into_iter()
        .flatten()
    }

    /// The field that holds a JSON object.
    #[must_use]
    pub fn json(&self) -> Option<&[u8]> {
        self.given.json.as_deref()
    }

    /// The key template: its own, or the standard one.
    #[must_use]
    pub fn template(&self, cluster: bool) -> &Template {
        self.template
            .as_ref()
            .unwrap_or_else(|| Template::standard(cluster))
    }

    /// On a cluster the keys it makes must lie in the slot of their stream.
    ///
    /// # Errors
    /// [`Error::TemplateSlot`].
    pub fn check_slot(&self, cluster: bool) -> Result<(), Error> {
        if !cluster || self.template(cluster).stays_in_slot(&self.pattern) {
            Ok(())
        } else {
            Err(Error::TemplateSlot {
                pattern: self.pattern.to_vec(),
            })
        }
    }

    /// Whether a field of that name may belong to a reading, be it its metric or its value.
    pub(crate) fn may_be_read(&self, name: &[u8]) -> bool {
        match self.values() {
            Values::Numbers => self.may_be_metric(name),
            Values::Named(names) => names.contains(name),
            Values::Pair { metric, value } => name == metric || name == value,
        }
    }

    /// Where the device stands, the first one present.
    pub(crate) fn devices(&self) -> &[Vec<u8>] {
        &self.devices
    }

    /// Where the time stands, the first one present.
    pub(crate) fn times(&self) -> &[Vec<u8>] {
        &self.times
    }

    pub(crate) fn values(&self) -> Values<'_> {
        match (&self.given.metric, &self.given.value, &self.given.values) {
            (Some(metric), Some(value), _) => Values::Pair { metric, value },
            (_, _, Some(_)) => Values::Named(&self.named),
            _ => Values::Numbers,
        }
    }

    /// Whether a field that is a number may be a metric where none were named.
    fn may_be_metric(&self, name: &[u8]) -> bool {
        let is = |field: &Option<Vec<u8>>| field.as_deref() == Some(name);
        !(DEVICES.contains(&name)
            || TIMES.contains(&name)
            || is(&self.given.device)
            || is(&self.given.time))
    }

    fn rank(&self) -> (Specificity, &[u8]) {
        (self.specificity, &self.pattern)
    }
}

fn one<'a>(name: &'static str, text: &'a Option<Vec<u8>>) -> Option<(&'static str, Part<'a>)> {
    text.as_deref().map(|text| (name, Part::One(text)))
}

fn check_field(name: &'static str, field: &[u8]) -> Result<(), Error> {
    if field.is_empty() || field.len() > LONGEST_FIELD {
        return Err(Error::Length { name });
    }
    Ok(())
}

/// All watches of a server.
#[derive(Debug)]
pub struct Watches {
    /// Least specific first.
    watches: Vec<Arc<Watch>>,
    epoch: u32,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            watches: Vec::new(),
            epoch: 1,
        }
    }
}

impl Watches {
    /// Changes with every change of a watch; never 0.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// All watches, least specific first.
    #[must_use]
    pub fn list(&self) -> &[Arc<Watch>] {
        &self.watches
    }

    /// The watch of exactly that pattern.
    #[must_use]
    pub fn get(&self, pattern: &[u8]) -> Option<&Arc<Watch>> {
        self.watches.iter().find(|watch| watch.pattern() == pattern)
    }

    /// The watch that a stream is read by: the most specific one that matches its key, and that one alone.
    #[must_use]
    pub fn of_stream(&self, stream: &[u8]) -> Option<&Arc<Watch>> {
        self.watches
            .iter()
            .rev()
            .find(|watch| glob::matches(watch.pattern(), stream))
    }

    /// Puts a watch in the place of the one with its pattern.
    pub fn set(&mut self, watch: Watch) {
        self.put(watch);
        self.changed();
    }

    /// Removes the watch of exactly that pattern; whether there was one.
    pub fn delete(&mut self, pattern: &[u8]) -> bool {
        let before = self.watches.len();
        self.watches.retain(|watch| watch.pattern() != pattern);
        let deleted = self.watches.len() < before;
        if deleted {
            self.changed();
        }
        deleted
    }

    /// Puts each of these watches in the place of the one with its pattern; with `replace`, all others go.
    pub fn import(&mut self, watches: Vec<Watch>, replace: bool) {
        if replace {
            self.watches.clear();
        }
        // As for rules: in one go, and of equals the last stays.
        self.watches.extend(watches.into_iter().map(Arc::new));
        self.watches.sort_by(|a, b| a.rank().cmp(&b.rank()));
        self.watches.dedup_by(|later, first| {
            let same = later.pattern == first.pattern;
            if same {
                std::mem::swap(later, first);
            }
            same
        });
        self.changed();
    }

    /// Forgets all watches.
    pub fn clear(&mut self) {
        self.watches.clear();
        self.changed();
    }

    fn put(&mut self, watch: Watch) {
        self.watches.retain(|other| other.pattern != watch.pattern);
        let at = self
            .watches
            .partition_point(|other| other.rank() < watch.rank());
        self.watches.insert(at, Arc::new(watch));
    }

    fn changed(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(pattern: &str, device: &str) -> Watch {
        let device = Some(device.into());
        Watch::new(
            pattern.as_bytes(),
            Given {
                device,
                ..Given::default()
            },
        )
        .unwrap()
    }

    fn device_of(watches: &Watches, stream: &str) -> Option<String> {
        let watch = watches.of_stream(stream.as_bytes())?;
        Some(String::from_utf8(watch.devices()[0].clone()).unwrap())
    }

    #[test]
    fn a_stream_is_read_by_the_most_specific_watch_alone() {
        let mut watches = Watches::default();
        assert!(watches.is_empty() && watches.of_stream(b"raw:1").is_none());
        for (pattern, device) in [
            ("raw:1", "exact"),
            ("*", "any"),
            ("raw:*", "raw"),
            ("raw:[0-9]", "digit"),
        ] {
            watches.set(watch(pattern, device));
        }
        for (stream, device) in [
            ("raw:1", "exact"),
            ("raw:2", "digit"),
            ("raw:x", "raw"),
            ("other", "any"),
        ] {
            assert_eq!(
                device_of(&watches, stream).as_deref(),
                Some(device),
                "{stream}"
            );
        }
        let patterns: Vec<_> = watches
            .list()
            .iter()
            .map(|w| w.pattern().to_vec())
            .collect();
        assert_eq!(
            patterns,
            [&b"*"[..], b"raw:*", b"raw:[0-9]", b"raw:1"]
                .map(<[u8]>::to_vec)
                .into_iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn setting_a_watch_replaces_the_one_of_its_pattern_wholly() {
        let mut watches = Watches::default();
        watches.set(watch("raw:*", "d"));
        let before = watches.epoch();
        let time = Some(b"at".to_vec());
        watches.set(
            Watch::new(
                b"raw:*",
                Given {
                    time,
                    ..Given::default()
                },
            )
            .unwrap(),
        );
        assert_ne!(watches.epoch(), before);
        assert_eq!(watches.list().len(), 1);
        let parts: Vec<_> = watches.get(b"raw:*").unwrap().parts().collect();
        assert_eq!(parts, [("time", Part::One(b"at"))]);
    }

    #[test]
    fn watches_come_and_go_and_every_change_is_told_by_the_epoch() {
        let mut watches = Watches::default();
        let mut epochs = vec![watches.epoch()];
        watches.set(watch("a", "1"));
        epochs.push(watches.epoch());
        assert!(
            !watches.delete(b"a*") && watches.epoch() == epochs[1],
            "nothing changed"
        );
        assert!(watches.delete(b"a") && watches.get(b"a").is_none());
        epochs.push(watches.epoch());
        watches.import(vec![watch("a", "1"), watch("b", "2")], false);
        epochs.push(watches.epoch());
        watches.import(vec![watch("a", "3"), watch("c", "4")], false);
        epochs.push(watches.epoch());
        assert_eq!(
            ["a", "b", "c"].map(|s| device_of(&watches, s).unwrap()),
            ["3", "2", "4"]
        );
        watches.import(vec![watch("c", "5")], true);
        epochs.push(watches.epoch());
        assert_eq!(
            ["a", "b", "c"].map(|s| device_of(&watches, s)),
            [None, None, Some("5".into())]
        );
        watches.clear();
        epochs.push(watches.epoch());
        assert!(watches.is_empty());
        let distinct: HashSet<_> = epochs.iter().collect();
        assert_eq!(distinct.len(), epochs.len());
    }
}
