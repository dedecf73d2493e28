//! What the tests of several files share: rules in one line, readings in one line, a sensor that goes by them.

use crate::codec;
use crate::command::Reply;
use crate::model::{Model, Outcome};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::rule::{Change, Rules};
use crate::setting::Setting;
use crate::units::Timestamp;

pub(crate) const KEY: &[u8] = b"sensor:1";

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

pub(crate) fn reading(ms: i64, value: f64) -> Reading {
    Reading { at: at(ms), value }
}

/// `max 28 clear 2`, as in ANOMALY.CONFIG SET.
pub(crate) fn changes(settings: &str) -> Vec<Change> {
    let words: Vec<_> = settings.split_whitespace().collect();
    words
        .chunks(2)
        .map(|pair| {
            let setting = Setting::named(pair[0].as_bytes()).unwrap();
            (setting, setting.parse(pair[1].as_bytes()).unwrap())
        })
        .collect()
}

/// A sensor with the rules of its server.
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) model: Model,
    pub(crate) rules: Rules,
}

impl Sensor {
    /// A sensor that has sent these values, one a second from 0 on.
    pub(crate) fn after(settings: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let mut sensor = Self::new(settings);
        for (second, value) in (0..).zip(values) {
            sensor.add(second * 1000, value);
        }
        sensor
    }

    /// A sensor never seen before, with these settings for all sensors.
    pub(crate) fn new(settings: &str) -> Self {
        let mut sensor = Self {
            model: Model::default(),
            rules: Rules::default(),
        };
        sensor.set(settings);
        sensor
    }

    /// Changes the settings for all sensors.
    pub(crate) fn set(&mut self, settings: &str) {
        self.rules.set(b"*", &changes(settings)).unwrap();
    }

    pub(crate) fn add(&mut self, ms: i64, value: f64) -> Outcome {
        self.model.ingest(KEY, reading(ms, value), &mut self.rules)
    }

    /// What would become of a reading, which is not taken in.
    pub(crate) fn ask(&mut self, ms: i64, value: f64) -> Outcome {
        let mut model = self.model.clone();
        model.ingest(KEY, reading(ms, value), &mut self.rules)
    }

    pub(crate) fn stored(&self) -> Vec<u8> {
        codec::save(&self.model)
    }

    pub(crate) fn profile(&mut self) -> std::sync::Arc<Profile> {
        self.model.profile(KEY, &mut self.rules)
    }
}

/// The names of a map, in order.
pub(crate) fn names(reply: &Reply) -> Vec<String> {
    let Reply::Map(pairs) = reply else {
        panic!("{reply:?} is no map");
    };
    pairs
        .iter()
        .map(|(name, _)| String::from_utf8(name.clone()).unwrap())
        .collect()
}

/// What stands under a name of a map.
pub(crate) fn get<'a>(reply: &'a Reply, name: &str) -> &'a Reply {
    let Reply::Map(pairs) = reply else {
        panic!("{reply:?} is no map");
    };
    pairs
        .iter()
        .find(|(n, _)| n == name.as_bytes())
        .map_or_else(|| panic!("no {name} in {reply:?}"), |(_, value)| value)
}

/// Every number in a reply.
pub(crate) fn doubles(reply: &Reply) -> Vec<f64> {
    match reply {
        Reply::Double(x) => vec![*x],
        Reply::Array(all) => all.iter().flat_map(doubles).collect(),
        Reply::Map(pairs) => pairs.iter().flat_map(|(_, value)| doubles(value)).collect(),
        _ => vec![],
    }
}

/// Numbers that look random and are the same everywhere: a linear congruential generator (Knuth's MMIX).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Even between -1 and 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// That many cases, `ANOMALY_FUZZ` times as many if it is set; a failing one is told, not written into the checkout.
pub(crate) fn cases(n: u32) -> proptest::test_runner::Config {
    let times = std::env::var("ANOMALY_FUZZ").map_or(Ok(1), |times| times.parse());
    let n = n.saturating_mul(times.expect("ANOMALY_FUZZ is a whole number"));
    proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::with_cases(n)
    }
}

/// Any finite number, the awkward ones often.
pub(crate) fn any_value() -> impl proptest::strategy::Strategy<Value = f64> {
    use proptest::prelude::*;
    prop_oneof![
        4 => -100.0..100.0f64,
        2 => any::<f64>().prop_filter("finite", |x| x.is_finite()),
        1 => prop::sample::select(vec![
            0.0, -0.0, 5e-324, -5e-324, 1e-310, f64::MIN_POSITIVE, 1e-30, 1e30, 3.5e38, 1.7e308, -1.7e308, f64::MAX, f64::MIN,
        ]),
    ]
}
