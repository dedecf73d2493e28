//! The constants of `auto`. None is fitted to a file: docs/detection.md shows that the score hardly moves when any of them
//! does. Rates are the weight of a reading in an exponentially weighted mean.

use super::control::EXPERTS;

/// Bins of the season.
pub(crate) const BINS: usize = 40;

/// Readings before it may fire, unless the rule says otherwise.
pub(crate) const WARMUP: u32 = 120;
/// Readings before an event is told from the noise, and clipped.
pub(crate) const SETTLED: u32 = 61;

/// Shape: errors before it may fire.
pub(crate) const SHAPE_WARMUP: u32 = 120;

/// Season: rate of the two mean errors by which the profile or the recent level is believed.
pub(crate) const BELIEF_RATE: f32 = 0.005;
/// Season: rate of the recent level.
pub(crate) const RECENT_RATE: f64 = 0.01;
/// Rate of the noise: the mean error of what is believed.
pub(crate) const NOISE_RATE: f32 = 0.002;
/// Season: a bin is never taken for quieter than this share of the noise.
pub(crate) const QUIETEST: f32 = 0.25;
/// Season: readings that a bin remembers at least.
pub(crate) const BIN_READINGS: f32 = 20.0;
/// Season: time in milliseconds that it remembers at least, spent in the bin.
pub(crate) const BIN_TIME: f32 = 6_000_000.0;
/// Season: what a reading may teach its bin, of the noise: the bin's own noise, and its value.
pub(crate) const BIN_NOISE_CLIP: f32 = 6.0;
/// As above.
pub(crate) const BIN_VALUE_CLIP: f32 = 3.5;

/// Level: rates of the fast and of the slow mean.
pub(crate) const FAST_RATE: f64 = 0.1;
/// As above.
pub(crate) const LONG_RATE: f64 = 0.008;
/// Level: time in milliseconds that the slow mean remembers at least.
pub(crate) const LONG_TIME: f32 = 7_200_000.0;
/// Level: time in milliseconds for which the usual level and spread of its error are remembered at least.
pub(crate) const USUAL_TIME: f32 = 86_400_000.0;

/// Shape: rates of the three means whose differences tell the course.
pub(crate) const COURSE_QUICK: f64 = 0.4;
/// As above.
pub(crate) const COURSE_MIDDLE: f64 = 0.1;
/// As above.
pub(crate) const COURSE_SLOW: f64 = 0.025;
/// Shape: rates of the two mean changes that tell the liveliness.
pub(crate) const LIVELY_QUICK: f32 = 0.1;
/// As above.
pub(crate) const LIVELY_SLOW: f32 = 0.02;
/// Shape: changes below this share of the noise are as good as none.
pub(crate) const LIFELESS: f32 = 0.001;
/// Shape: rate at which features learn their mean and spread.
pub(crate) const FEATURE_RATE: f32 = 0.001;
/// Shape: what a reading may teach, in spreads.
pub(crate) const FEATURE_CLIP: f32 = 8.0;

/// Novelty: states that are remembered.
pub(crate) const PROTOTYPES: usize = 7;
/// Novelty: what is farther from all of them is remembered itself, as a share of the range there has been.
pub(crate) const RADIUS: f32 = 0.1;
/// Novelty: errors before it may fire.
pub(crate) const NOVELTY_WARMUP: u32 = 120;

/// Oddness: rate of the recent level of an error.
pub(crate) const ERROR_RATE: f32 = 0.16;
/// Oddness: rate of its usual level and spread.
pub(crate) const USUAL_RATE: f32 = 0.0003;
/// Oddness: what a reading may teach these, in standard deviations.
pub(crate) const USUAL_CLIP: f32 = 3.1;
/// Oddness: share of the small-sample correction.
pub(crate) const SMALL_SAMPLE: f32 = 0.3;

/// Control: readings of the budget that count as independent, times ten.
pub(crate) const INDEPENDENT: f32 = 1.3;
/// Control: the budget is never taken for fewer than 10 to this.
pub(crate) const LEAST_BUDGET: f32 = 2.8;
/// Control: share of the normal law's quantile that is the threshold.
pub(crate) const STRICTNESS: f32 = 0.6;
/// Control: what is added to that share for each e-fold of rarity, since no error is quite normal far out.
pub(crate) const HEAVIER: f32 = 0.025;
/// Control: how much more than that each expert needs: season, level, shape, novelty.
pub(crate) const SHARES: [f32; EXPERTS] = [1.0, 1.0, 1.1, 1.3];
/// Control: what a crossing adds to the threshold of its expert, for one budget.
pub(crate) const LIFT: f32 = 0.16;
/// Control: what an alert adds to all thresholds, for one budget.
pub(crate) const COMMON_LIFT: f32 = 0.1;
/// Control: readings without a crossing before it may fire again.
pub(crate) const QUIET: f32 = 40.0;
/// Control: and a share of the budget, 40 minutes of 30 days: where readings are dense, 40 of them are no time.
pub(crate) const QUIET_SHARE: f32 = 1.0 / 1080.0;

/// Counters: changes in one direction after which a fall is a reset.
pub(crate) const CLIMB: u32 = 20;

/// Rate of the mean time between readings.
pub(crate) const CADENCE_RATE: f32 = 0.01;

/// Season: a reading this many times as far out as any before is odd by itself.
pub(crate) const BEYOND: f32 = 1.8;
/// Season: rate at which the largest error is forgotten.
pub(crate) const PEAK_RATE: f32 = 0.0001;
/// Control: readings without a crossing, and the ratio, with which it may fire before it has been quiet for long.
pub(crate) const PAUSE: u16 = 5;
/// As above.
pub(crate) const AGAIN: f64 = 2.0;
