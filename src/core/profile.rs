//! A profile: the settings of one sensor after the cascade, typed, as the detectors read them.

use std::sync::Arc;

use crate::detect::auto::{Cycle, Pace};
use crate::kind::Kind;
use crate::setting::{Setting, Value};
use crate::units::{Direction, Side};

/// What a setting is for one sensor, and the pattern it came from (`None`: the default).
pub type Resolved = (Setting, Value, Option<Arc<[u8]>>);

/// Fixed limits in the sensor's unit. A reading beyond a limit is abnormal, one on it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Below is a warning.
    pub min: Option<f64>,
    /// Above is a warning.
    pub max: Option<f64>,
    /// Below is critical.
    pub critical_min: Option<f64>,
    /// Above is critical.
    pub critical_max: Option<f64>,
    /// Half the distance between the lower and the upper limit, where there are both and they differ.
    pub half_width: Option<f64>,
    /// How far inside a crossed limit counts as normal again.
    pub margin: f64,
}

impl Limits {
    /// Works out what does not depend on a reading. Done for each reading, the processor would also calculate with the
    /// rest of memory that a missing limit is, and where that looks like a number below 2e-308, it takes 100 ns for it.
    fn prepared(self) -> Self {
        let (low, high) = (
            self.min.or(self.critical_min),
            self.max.or(self.critical_max),
        );
        let half_width = low
            .zip(high)
            .map(|(low, high)| high / 2.0 - low / 2.0)
            .filter(|width| *width > 0.0);
        Self { half_width, ..self }
    }

    /// Whether there is any on the sides that are watched.
    #[must_use]
    pub fn any(&self, watched: Direction) -> bool {
        let low = self.min.or(self.critical_min).is_some();
        let high = self.max.or(self.critical_max).is_some();
        low && watched.watches(Side::Low) || high && watched.watches(Side::High)
    }
}

/// The settings of one sensor. Durations are in milliseconds, counts in readings, values in the sensor's unit.
#[derive(Debug)]
pub struct Profile {
    /// Whether readings are scored at all.
    pub enabled: bool,
    /// Fixed limits.
    pub limits: Limits,
    /// Threshold of the rolling z-score, in standard deviations.
    pub zscore: Option<f64>,
    /// Threshold of the robust z-score, in robust standard deviations.
    pub mad: Option<f64>,
    /// Threshold of the deviation from the exponentially weighted mean, in its standard deviations.
    pub ewma: Option<f64>,
    /// Weight of a reading in that mean, above 0 and at most 1.
    pub alpha: f64,
    /// Threshold h of the cumulative sums, in standard deviations.
    pub cusum: Option<f64>,
    /// Drift k that they allow for with each reading, in standard deviations.
    pub drift: f64,
    /// Whether the parameter-free detector is on.
    pub auto: bool,
    /// Length of the cycle that it learns, in milliseconds.
    pub season: u64,
    /// Time in milliseconds in which it gives about one alert on clean data.
    pub budget: u64,
    /// Longest time without a change of value.
    pub stuck: Option<u64>,
    /// Longest time without a reading, by the server's clock.
    pub nodata: Option<u64>,
    /// Time without a reading after which the sensor is forgotten, by the server's clock.
    pub expire: Option<u64>,
    /// Largest change per second.
    pub rate: Option<f64>,
    /// Length of the rolling window.
    pub window: usize,
    /// Multiple of a threshold that is critical.
    pub critical: f64,
    /// The side that is watched.
    pub direction: Direction,
    /// Smallest deviation that may fire.
    pub mindev: f64,
    /// Readings before a statistical detector may fire, if not its own default.
    pub warmup: Option<u32>,
    /// Whether anomalous readings enter the baseline.
    pub learn: bool,
    /// Consecutive abnormal readings before an episode fires.
    pub for_readings: u32,
    /// Consecutive normal readings before it is resolved.
    pub clear: u32,
    /// Silence after an episode.
    pub cooldown: u64,
    /// Time between reminders; 0 for none.
    pub repeat: u64,
    /// Whether readings are written to the series.
    pub archive: bool,
    /// Retention of a new series; 0 for all.
    pub retention: u64,
    /// Chunk size of a new series, in bytes.
    pub chunk_size: u64,
    /// Readings kept in the model.
    pub recent: usize,
    /// The sensor's unit, as shown.
    pub unit: String,
    /// What `auto` goes by of the budget.
    pub(crate) pace: Pace,
    /// And of the season.
    pub(crate) cycle: Cycle,
    judging: Vec<Kind>,
    listens: bool,
    origins: Vec<Option<Arc<[u8]>>>,
}

impl Profile {
    /// The typed form of what [`crate::Rules::resolve`] returns.
    #[must_use]
    pub fn from_resolved(resolved: &[Resolved]) -> Self {
        let value = |setting: Setting| {
            resolved
                .iter()
                .find(|(s, ..)| *s == setting)
                .map_or_else(|| setting.default_value(), |(_, v, _)| v.clone())
        };
        let number = |setting| match value(setting) {
            Value::Number(x) => Some(x),
            _ => None,
        };
        let count = |setting| match value(setting) {
            Value::Count(n) => n,
            _ => 0,
        };
        let timeout = |setting| match value(setting) {
            Value::Count(ms) => Some(ms),
            _ => None,
        };
        let readings = |setting| u32::try_from(count(setting)).unwrap_or(u32::MAX);
        let flag = |setting| value(setting) == Value::Flag(true);
        let profile = Self {
            enabled: flag(Setting::Enabled),
            limits: Limits {
                min: number(Setting::Min),
                max: number(Setting::Max),
                critical_min: number(Setting::CriticalMin),
                critical_max: number(Setting::CriticalMax),
                half_width: None,
                margin: number(Setting::ClearMargin).unwrap_or(0.0),
            }
            .prepared(),
            zscore: number(Setting::Zscore),
            mad: number(Setting::Mad),
            ewma: number(Setting::Ewma),
            alpha: number(Setting::Alpha).unwrap_or(1.0),
            cusum: number(Setting::Cusum),
            drift: number(Setting::Drift).unwrap_or(0.0),
            auto: value(Setting::Auto) == Value::Switch(true),
            season: count(Setting::Season),
            budget: count(Setting::Budget),
            stuck: timeout(Setting::Stuck),
            nodata: timeout(Setting::Nodata),
            expire: timeout(Setting::Expire),
            rate: number(Setting::Rate),
            window: readings(Setting::Window) as usize,
            critical: number(Setting::Critical).unwrap_or(1.5),
            direction: match value(Setting::Direction) {
                Value::Direction(direction) => direction,
                _ => Direction::Both,
            },
            mindev: number(Setting::Mindev).unwrap_or(0.0),
            warmup: (value(Setting::Warmup) != Value::Off).then(|| readings(Setting::Warmup)),
            learn: flag(Setting::Learn),
            for_readings: readings(Setting::For),
            clear: readings(Setting::Clear),
            cooldown: count(Setting::Cooldown),
            repeat: count(Setting::Repeat),
            archive: flag(Setting::Archive),
            retention: count(Setting::Retention),
            chunk_size: count(Setting::ChunkSize),
            recent: readings(Setting::Recent) as usize,
            unit: match value(Setting::Unit) {
                Value::Text(unit) => unit,
                _ => String::new(),
            },
            pace: Pace::of(count(Setting::Budget)),
            cycle: Cycle::of(count(Setting::Season)),
            judging: Vec::new(),
            listens: false,
            origins: Setting::ALL
                .iter()
                .map(|s| {
                    resolved
                        .iter()
                        .find(|(r, value, _)| r == s && *value != Value::Off)
                        .and_then(|(.., from)| from.clone())
                })
                .collect(),
        };
        let on = Kind::JUDGING.into_iter().filter(|kind| profile.has(*kind));
        Self {
            judging: on.collect(),
            listens: profile.expire.is_some() || profile.has(Kind::Nodata),
            ..profile
        }
    }

    /// Whether it matters when readings arrive.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// The detectors that judge readings, in the order they are asked.
    #[must_use]
    pub fn judging(&self) -> &[Kind] {
        &self.judging
    }

    /// Whether a detector is switched on.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.enabled
            && match kind {
                Kind::Range => self.limits.any(self.direction),
                Kind::Zscore => self.zscore.is_some(),
                Kind::Mad => self.mad.is_some(),
                Kind::Ewma => self.ewma.is_some(),
                Kind::Rate => self.rate.is_some(),
                Kind::Cusum => self.cusum.is_some(),
                Kind::Stuck => self.stuck.is_some(),
                Kind::Nodata => self.nodata.is_some(),
                Kind::Auto => self.auto,
            }
    }

    /// The threshold of a detector that has one, in the unit of its statistic.
    #[must_use]
    pub fn threshold(&self, kind: Kind) -> Option<f64> {
        match kind {
            Kind::Zscore => self.zscore,
            Kind::Mad => self.mad,
            Kind::Ewma => self.ewma,
            Kind::Rate => self.rate,
            Kind::Cusum => self.cusum,
            Kind::Stuck => self.stuck.map(|ms| ms as f64),
            Kind::Nodata => self.nodata.map(|ms| ms as f64),
            Kind::Range | Kind::Auto => None,
        }
    }

    /// The pattern of the rule that set a detector, or for fixed limits the limit `threshold` on that side; `None` when
    /// it runs by default.
    #[must_use]
    pub fn rule_of(&self, kind: Kind, side: Side, threshold: f64) -> Option<&[u8]> {
        let limits = &self.limits;
        let setting = match (kind, side) {
            (Kind::Range, Side::Low) if limits.critical_min == Some(threshold) => {
                Setting::CriticalMin
            }
            (Kind::Range, Side::Low) => Setting::Min,
            (Kind::Range, _) if limits.critical_max == Some(threshold) => Setting::CriticalMax,
            (Kind::Range, _) => Setting::Max,
            _ => *kind.settings().first()?,
        };
        self.origins.get(setting as usize)?.as_deref()
    }
}
