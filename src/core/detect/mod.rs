//! Detectors: each turns a reading into a ratio of its statistic to its threshold, so that all scores can be compared.
//!
//! A detector is one file with one function `judge`, which looks and does not learn; what it needs of the past is kept in
//! the [`Model`] and taken in by its `learn`. The contract that all keep is in `contract.rs`.

pub mod auto;
pub mod cusum;
pub mod ewma;
pub mod mad;
pub mod nodata;
pub mod range;
pub mod rate;
pub mod stuck;
pub mod zscore;

#[cfg(test)]
mod contract;

pub use self::auto::{Auto, Look};
pub use self::cusum::Cusum;
pub use self::ewma::Ewma;
pub use crate::kind::Kind;
use crate::model::Model;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::{Direction, Severity, Side, score};
use crate::window::Window;

/// Ratios end here, so that a change of a sensor that never changed has a score below 1 and no infinity.
pub const HIGHEST_RATIO: f64 = 1e9;

/// What a detector says of one reading. Values are in the sensor's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Which detector.
    pub kind: Kind,
    /// Statistic over threshold, 0 to [`HIGHEST_RATIO`]; abnormal above 1.
    pub ratio: f64,
    /// How bad; `None` is normal.
    pub severity: Option<Severity>,
    /// To which side it deviates.
    pub side: Side,
    /// The limit that was crossed or is nearest, or k.
    pub threshold: f64,
    /// What was expected, where there is such a thing.
    pub expected: Option<f64>,
    /// Below is abnormal.
    pub lower: Option<f64>,
    /// Above is abnormal.
    pub upper: Option<f64>,
    /// What a sentence about it needs.
    pub detail: Detail,
}

impl Finding {
    /// Between 0 and 1; 0.5 is the boundary.
    #[must_use]
    pub fn score(&self) -> f64 {
        score(self.ratio)
    }

    /// How bad it is, where alarm control keeps it from firing.
    #[must_use]
    pub fn held(&self) -> Option<Severity> {
        match self.detail {
            Detail::Learnt { held, .. } => held,
            _ => None,
        }
    }
}

/// What a sentence about a finding needs, by detector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail {
    /// A fixed limit.
    Limit {
        /// The limit for a warning on the nearer side, if there is one.
        warning: Option<f64>,
        /// The limit for critical on that side, if there is one.
        critical: Option<f64>,
        /// Inside the limit, but not yet by the margin that ends the episode.
        held_by_margin: bool,
    },
    /// A deviation from the centre of the past.
    Deviation {
        /// In standard deviations; infinite where there is no deviation to compare with.
        deviations: f64,
        /// One standard deviation, in the sensor's unit.
        unit: f64,
        /// What it deviates from.
        from: Centre,
    },
    /// A sum of deviations.
    Sum {
        /// In standard deviations; infinite where there is no deviation to compare with.
        sum: f64,
        /// One standard deviation, in the sensor's unit.
        unit: f64,
    },
    /// A time without a reading.
    Silence {
        /// Milliseconds; `None` where one has just arrived.
        ms: Option<i64>,
    },
    /// A time without change.
    Unchanged {
        /// Milliseconds; `None` where the value has just changed.
        ms: Option<i64>,
    },
    /// A change.
    Change {
        /// Per second, signed.
        per_second: f64,
    },
    /// What `auto` has learnt.
    Learnt {
        /// What is, or would be, odd about the reading.
        odd: Oddity,
        /// Mean error of what is expected, in the sensor's unit.
        noise: f64,
        /// The ratio before alarm control.
        ratio: f64,
        /// How bad the reading is, where alarm control keeps it from firing: it does not end an episode.
        held: Option<Severity>,
    },
}

/// What can be odd about a reading. Values are in the sensor's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Oddity {
    /// Its value.
    Value {
        /// By what is usual at this point of the cycle, not by the recent level.
        seasonal: bool,
    },
    /// The level has moved.
    Level {
        /// From this.
        from: f64,
        /// To this.
        to: f64,
    },
    /// The signal varies less than it used to.
    Calm,
    /// The signal varies more than it used to.
    Lively,
    /// The signal goes another way than it used to.
    Course,
    /// Value, course and liveliness together are as they never were.
    Novel,
}

/// The middle of the past that a deviation is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centre {
    /// The mean of the last readings.
    Mean {
        /// How many.
        readings: usize,
    },
    /// Their median.
    Median {
        /// How many.
        readings: usize,
        /// More than half of them are equal to it.
        alike: bool,
    },
    /// The exponentially weighted mean.
    WeightedMean,
}

/// The answer of a detector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judgement {
    /// It cannot say anything of this reading (the rate of two readings of one instant).
    Skipped,
    /// It needs that many readings more.
    Warming(u32),
    /// What it found.
    Scored(Finding),
}

/// An answer in short: all that is asked of a normal one while nothing is the matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Grade {
    /// As [`Judgement::Skipped`].
    Skipped,
    /// As [`Judgement::Warming`].
    Warming(u32),
    /// A finding without a severity, of that ratio.
    Normal(f64),
    /// A finding with one.
    Abnormal,
}

impl Judgement {
    /// In short. Detectors are inlined into whoever asks for no more than this, and what the finding has beside it is then
    /// never worked out.
    #[inline(always)]
    pub(crate) fn grade(&self) -> Grade {
        match self {
            Self::Skipped => Grade::Skipped,
            Self::Warming(needed) => Grade::Warming(*needed),
            Self::Scored(finding) if finding.severity.is_some() => Grade::Abnormal,
            Self::Scored(finding) => Grade::Normal(finding.ratio),
        }
    }
}

/// Which sides of the limits an open episode has crossed: there, the margin holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// The upper limit.
    pub high: bool,
    /// The lower limit.
    pub low: bool,
}

/// What detectors know of a sensor's past.
impl Model {
    /// Makes the state fit the profile: what is on has its state, what is off has none. Depends on nothing but the two,
    /// so that every server that does it before a reading comes to the same state.
    pub(crate) fn fit(&mut self, profile: &Profile) {
        if [Kind::Ewma, Kind::Cusum, Kind::Auto]
            .iter()
            .any(|kind| profile.has(*kind))
            || self.more.is_some()
        {
            keep(&mut self.ewma, profile.has(Kind::Ewma));
            keep(&mut self.cusum, profile.has(Kind::Cusum));
            if !profile.has(Kind::Auto) {
                self.auto.set(None);
            } else {
                let auto = self.auto.get_or_insert_with(Auto::default);
                auto.fit(profile.season);
            }
            if !profile.has(Kind::Stuck) {
                self.changed = None;
            }
        }
        let ranked = profile.has(Kind::Mad);
        if !ranked && !profile.has(Kind::Zscore) {
            self.window.set(None);
            return;
        }
        let window = self
            .window
            .get_or_insert_with(|| Window::new(profile.window));
        if window.capacity() != profile.window {
            *window = window.resized(profile.window);
        }
        window.rank(ranked);
    }

    /// Asks one detector, which must be on.
    #[inline(always)]
    #[must_use]
    pub(crate) fn ask(
        &self,
        kind: Kind,
        reading: Reading,
        profile: &Profile,
        crossed: Crossed,
    ) -> Judgement {
        match kind {
            Kind::Range => range::judge(reading.value, profile, crossed),
            Kind::Zscore => zscore::judge(self.window.as_ref(), reading.value, profile),
            Kind::Mad => mad::judge(self.window.as_ref(), reading.value, profile),
            Kind::Ewma => ewma::judge(self.ewma.as_deref(), reading.value, profile),
            Kind::Rate => rate::judge(self, reading, profile),
            Kind::Cusum => cusum::judge(self.cusum.as_deref(), reading.value, profile),
            Kind::Stuck => stuck::judge(self, reading, profile),
            Kind::Auto => self.auto.as_ref().map_or(Judgement::Skipped, |auto| {
                auto.judge(reading, self.newest, profile)
            }),
            Kind::Nodata => Judgement::Skipped,
        }
    }

    /// Asks one detector, which must be on, for no more than its grade, while no episode is open.
    ///
    /// It is no part of the loop over the detectors, before which the compiler would work out what any of them may need.
    #[inline(never)]
    #[must_use]
    pub(crate) fn grade(
        &self,
        kind: Kind,
        reading: Reading,
        profile: &Profile,
        look: Option<&Look>,
    ) -> Grade {
        match kind {
            Kind::Auto => look.map_or(Grade::Skipped, |look| look.grade(profile)),
            kind => self.ask(kind, reading, profile, Crossed::default()).grade(),
        }
    }

    /// Takes in a reading. An anomalous one does not enter the statistics where `learn` is no.
    pub(crate) fn learn(
        &mut self,
        reading: Reading,
        anomalous: bool,
        profile: &Profile,
        look: Option<&Look>,
    ) {
        let previous = self.newest.replace(reading);
        if profile.has(Kind::Stuck) {
            let same = previous
                .filter(|previous| previous.value == reading.value && previous.at <= reading.at);
            self.changed = Some(same.map_or(reading.at, |same| self.changed.unwrap_or(same.at)));
        }
        let enters = !anomalous || profile.learn;
        if let Some(more) = self.more.as_mut() {
            if let (Some(auto), Some(look)) = (more.auto.as_mut(), look) {
                auto.learn(look, profile);
            }
            if let Some(cusum) = &mut more.cusum {
                cusum.learn(reading.value, anomalous, profile);
            }
            if let Some(ewma) = &mut more.ewma
                && enters
            {
                ewma.learn(reading.value, profile.alpha);
            }
        }
        if let Some(window) = self.window.as_mut()
            && enters
        {
            window.push(reading.value);
        }
    }
}

/// The state of a detector is there while it is on.
fn keep<T: Default>(state: &mut Option<Box<T>>, on: bool) {
    if on {
        state.get_or_insert_default();
    } else {
        *state = None;
    }
}

/// Readings that a detector needs before it judges: what the rule says, or its own number, but never fewer than `least`.
pub(crate) fn needed(profile: &Profile, own: u32, least: u32) -> u32 {
    profile.warmup.unwrap_or(own).max(least)
}

/// Readings that it needs still, of which it has `seen` so many.
pub(crate) fn missing(profile: &Profile, own: u32, least: u32, seen: u32) -> u32 {
    needed(profile, own, least).saturating_sub(seen)
}

/// The finding of a detector that measures how many times its `unit` a value deviates from the centre of the past. Where
/// there is no deviation in the past at all, any is as far out as a ratio goes.
#[inline(always)]
pub(crate) fn deviating(
    kind: Kind,
    from: Centre,
    centre: f64,
    unit: f64,
    deviation: f64,
    profile: &Profile,
) -> Judgement {
    let k = profile.threshold(kind).unwrap_or(f64::INFINITY);
    let deviation = deviation.clamp(f64::MIN, f64::MAX);
    let deviations = match (deviation == 0.0, unit == 0.0) {
        (true, _) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => deviation.abs() / unit,
    };
    let (ratio, severity) = grade((deviations / k).min(HIGHEST_RATIO), deviation, profile);
    let reach = (k * unit).max(profile.mindev);
    let watched = |side, bound| profile.direction.watches(side).then_some(bound);
    Judgement::Scored(Finding {
        kind,
        ratio,
        severity,
        side: Side::of(deviation),
        threshold: k,
        expected: Some(centre),
        lower: watched(Side::Low, (centre - reach).max(f64::MIN)),
        upper: watched(Side::High, (centre + reach).min(f64::MAX)),
        detail: Detail::Deviation {
            deviations,
            unit,
            from,
        },
    })
}

/// The severity of a statistic, and its ratio with `direction` and `mindev` applied. A deviation below `mindev` never
/// fires: its ratio ends below 1.
#[inline(always)]
#[must_use]
pub(crate) fn grade(ratio: f64, deviation: f64, profile: &Profile) -> (f64, Option<Severity>) {
    // Which side it is on cannot be guessed, and mostly does not matter.
    if profile.direction != Direction::Both && !profile.direction.watches(Side::of(deviation)) {
        return (0.0, None);
    }
    let small = deviation.abs() < profile.mindev;
    let ratio = if small {
        ratio.min(deviation.abs() / profile.mindev)
    } else {
        ratio.min(HIGHEST_RATIO)
    };
    (ratio, severity(ratio, profile))
}

/// The severity of a statistic at so many times its threshold.
pub(crate) fn severity(ratio: f64, profile: &Profile) -> Option<Severity> {
    match ratio {
        r if r <= 1.0 => None,
        r if r >= profile.critical => Some(Severity::Critical),
        _ => Some(Severity::Warning),
    }
}
