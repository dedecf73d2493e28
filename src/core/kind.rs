//! The kinds of abnormality, one for each detector.

use crate::setting::Setting;

/// What kind of abnormality: the name of the detector that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Beyond a fixed limit.
    Range,
    /// Rolling z-score.
    Zscore,
    /// Robust z-score.
    Mad,
    /// Exponentially weighted mean.
    Ewma,
    /// Change per second.
    Rate,
    /// Cumulative sum.
    Cusum,
    /// The parameter-free detector.
    Auto,
    /// No change of value.
    Stuck,
    /// No reading.
    Nodata,
}

impl Kind {
    /// All of them; the position is the number under which one is stored.
    pub const ALL: [Self; 9] = [
        Self::Range,
        Self::Zscore,
        Self::Mad,
        Self::Ewma,
        Self::Rate,
        Self::Cusum,
        Self::Auto,
        Self::Stuck,
        Self::Nodata,
    ];

    /// Those that judge readings, in the order they are asked. The server's clock tells of the other.
    pub const JUDGING: [Self; 8] = [
        Self::Range,
        Self::Zscore,
        Self::Mad,
        Self::Ewma,
        Self::Rate,
        Self::Cusum,
        Self::Auto,
        Self::Stuck,
    ];

    /// The word used in replies and alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Zscore => "zscore",
            Self::Mad => "mad",
            Self::Ewma => "ewma",
            Self::Rate => "rate",
            Self::Cusum => "cusum",
            Self::Auto => "auto",
            Self::Stuck => "stuck",
            Self::Nodata => "nodata",
        }
    }

    /// The settings that switch it on.
    #[must_use]
    pub fn settings(self) -> &'static [Setting] {
        match self {
            Self::Range => &[
                Setting::Max,
                Setting::Min,
                Setting::CriticalMax,
                Setting::CriticalMin,
            ],
            Self::Zscore => &[Setting::Zscore],
            Self::Mad => &[Setting::Mad],
            Self::Ewma => &[Setting::Ewma],
            Self::Rate => &[Setting::Rate],
            Self::Cusum => &[Setting::Cusum],
            Self::Auto => &[Setting::Auto],
            Self::Stuck => &[Setting::Stuck],
            Self::Nodata => &[Setting::Nodata],
        }
    }
}
