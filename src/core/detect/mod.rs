//! Detectors: each turns a reading into a ratio of its statistic to its threshold, so that all scores can be compared.
//!
//! A detector is one file with one function `judge`, which looks and does not learn; what it needs of the past is kept in
//! the [`Baseline`] and taken in by [`Baseline::learn`]. The contract that all keep is in `contract.rs`.

pub mod range;
pub mod rate;
pub mod zscore;

#[cfg(test)]
mod contract;

pub use crate::kind::Kind;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::{Severity, Side, score};
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
    /// A deviation from a mean.
    Deviation {
        /// In standard deviations; infinite where there is no deviation to compare with.
        deviations: f64,
        /// One standard deviation, in the sensor's unit.
        unit: f64,
        /// Readings the mean is of.
        readings: usize,
    },
    /// A change.
    Change {
        /// Per second, signed.
        per_second: f64,
    },
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

/// What detectors know of a sensor's past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The rolling window, while a detector that uses it is on.
    pub window: Option<Box<Window>>,
    /// The newest reading.
    pub previous: Option<Reading>,
    /// Readings scored; saturating.
    pub readings: u32,
}

/// Which sides of the limits an open episode has crossed: there, the margin holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// The upper limit.
    pub high: bool,
    /// The lower limit.
    pub low: bool,
}

impl Baseline {
    /// Makes the state fit the profile: what is on has its state, what is off has none. Depends on nothing but the two,
    /// so that every server that does it before a reading comes to the same state.
    pub fn fit(&mut self, profile: &Profile) {
        if !profile.has(Kind::Zscore) {
            self.window = None;
            return;
        }
        match &mut self.window {
            Some(window) if window.capacity() == profile.window => {}
            Some(window) => **window = window.resized(profile.window),
            none => *none = Some(Box::new(Window::new(profile.window))),
        }
    }

    /// Asks one detector, which must be on.
    #[must_use]
    pub fn judge(
        &self,
        kind: Kind,
        reading: Reading,
        profile: &Profile,
        crossed: Crossed,
    ) -> Judgement {
        match kind {
            Kind::Range => range::judge(reading.value, profile, crossed),
            Kind::Zscore => zscore::judge(self.window.as_deref(), reading.value, profile),
            Kind::Rate => rate::judge(self, reading, profile),
            Kind::Mad | Kind::Ewma | Kind::Cusum | Kind::Auto | Kind::Stuck | Kind::Nodata => {
                Judgement::Skipped
            }
        }
    }

    /// Takes in a reading. An anomalous one does not enter the statistics where `learn` is no.
    pub fn learn(&mut self, reading: Reading, anomalous: bool, profile: &Profile) {
        self.previous = Some(reading);
        self.readings = self.readings.saturating_add(1);
        if let Some(window) = &mut self.window
            && (profile.learn || !anomalous)
        {
            window.push(reading.value);
        }
    }
}

/// The severity of a statistic, and its ratio with `direction` and `mindev` applied. A deviation below `mindev` never
/// fires: its ratio ends below 1.
#[must_use]
pub(crate) fn grade(ratio: f64, deviation: f64, profile: &Profile) -> (f64, Option<Severity>) {
    let side = Side::of(deviation);
    if !profile.direction.watches(side) {
        return (0.0, None);
    }
    let small = deviation.abs() < profile.mindev;
    let ratio = if small {
        ratio.min(deviation.abs() / profile.mindev)
    } else {
        ratio.min(HIGHEST_RATIO)
    };
    let severity = match ratio {
        r if r <= 1.0 => None,
        r if r >= profile.critical => Some(Severity::Critical),
        _ => Some(Severity::Warning),
    };
    (ratio, severity)
}
