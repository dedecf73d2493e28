//! Scores by the rules of the Numenta Anomaly Benchmark (Lavin and Ahmad, "Evaluating Real-time Anomaly Detection
//! Algorithms: the Numenta Anomaly Benchmark", 2015), written from its definition:
//!
//! * A row whose score is at or above the threshold is a detection. The first min(⌊0.15 n⌋, 750) rows of a file do not
//!   count: detectors learn there.
//! * With σ(x) = 2/(1 + e^5x) − 1, the first detection in a window of W rows that ends with row R is worth
//!   σ(−(R − i + 1)/W) / σ(−1) at row i: nearly 1 early in the window, near 0 at its end. A window without one costs the
//!   profile's weight of a miss.
//! * A detection outside of all windows costs the profile's weight of a false alarm times −σ((i − R)/(W − 1)), with the
//!   window that ended last; 1 beyond three windows' lengths and where there was none.
//! * 0 is what a detector gets that finds nothing, 100 one that finds every window at once.
//!
//! Sums are taken in the order of the rows, so that the figures are the same everywhere.

use serde::Serialize;

/// Weights of a kind of user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// As the benchmark names it.
    pub(crate) name: &'static str,
    /// As its tables do.
    pub(crate) short: &'static str,
    false_alarm: f64,
    miss: f64,
}

/// Whom one score is for.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile {
        name: "standard",
        short: "Standard",
        false_alarm: 0.11,
        miss: 1.0,
    },
    Profile {
        name: "reward_low_FP_rate",
        short: "low-FP",
        false_alarm: 0.22,
        miss: 1.0,
    },
    Profile {
        name: "reward_low_FN_rate",
        short: "low-FN",
        false_alarm: 0.11,
        miss: 2.0,
    },
];

/// A row that counts.
#[derive(Clone, Copy, Debug)]
struct Unit {
    score: f64,
    /// What a detection here is worth: 0 to 1 in a window, -1 to 0 outside.
    worth: f64,
    /// The window it is in.
    window: Option<usize>,
}

/// A file whose rows have scores.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    units: Vec<Unit>,
    /// Windows with a row that counts.
    windows: usize,
}

/// What one threshold comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) windows: usize,
    /// Windows with a detection.
    pub(crate) caught: usize,
    /// Rows outside of windows that are detections.
    pub(crate) false_alarms: usize,
    gain: f64,
    cost: f64,
}

impl Outcome {
    /// Windows without a detection.
    pub(crate) fn missed(self) -> usize {
        self.windows - self.caught
    }

    fn raw(self, profile: Profile) -> f64 {
        self.gain - profile.false_alarm * self.cost - profile.miss * self.missed() as f64
    }

    /// 0 to 100, or below; `None` where there is no window to be found.
    pub(crate) fn score(self, profile: Profile) -> Option<f64> {
        let windows = self.windows as f64;
        let nothing = -profile.miss * windows;
        let score = 100.0 * (self.raw(profile) - nothing) / (windows - nothing);
        (self.windows > 0).then_some(score)
    }

    /// Points that these rows cost a corpus with so many windows.
    pub(crate) fn lost(self, profile: Profile, windows: usize) -> f64 {
        let most = windows as f64 * (1.0 + profile.miss);
        100.0 * (self.windows as f64 - self.raw(profile)) / most.max(1.0)
    }

    fn and(self, other: Self) -> Self {
        Self {
            windows: self.windows + other.windows,
            caught: self.caught + other.caught,
            false_alarms: self.false_alarms + other.false_alarms,
            gain: self.gain + other.gain,
            cost: self.cost + other.cost,
        }
    }
}

/// The threshold that suits a profile best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Best {
    pub(crate) score: f64,
    pub(crate) threshold: f64,
}

/// σ, cut off three windows behind.
fn sigma(x: f64) -> f64 {
    if x > 3.0 {
        -1.0
    } else {
        2.0 / (1.0 + libm::exp(5.0 * x)) - 1.0
    }
}

impl Scored {
    /// A file with a score for each row, and its windows as first and last row, in order.
    pub(crate) fn new(scores: &[f64], windows: &[(usize, usize)]) -> Self {
        let learning = ((0.15 * scores.len() as f64) as usize).min(750);
        let mut units = Vec::with_capacity(scores.len());
        let mut coming = windows.iter().enumerate().peekable();
        let mut ended: Option<(usize, usize)> = None;
        let mut counting: Option<usize> = None;
        let mut count = 0;
        for (row, score) in scores.iter().enumerate() {
            while let Some((_, window)) = coming.next_if(|(_, (_, last))| *last < row) {
                ended = Some(*window);
            }
            if row < learning {
                continue;
            }
            let inside = coming.peek().filter(|(_, (first, _))| *first <= row);
            let (worth, window) = match (inside, ended) {
                (Some((index, (first, last))), _) => {
                    if counting != Some(*index) {
                        (counting, count) = (Some(*index), count + 1);
                    }
                    let left = (last - row + 1) as f64 / (last - first + 1) as f64;
                    (sigma(-left) / sigma(-1.0), Some(count - 1))
                }
                (None, None) => (-1.0, None),
                (None, Some((first, last))) => {
                    let behind = (row - last) as f64 / (last - first).max(1) as f64;
                    (sigma(behind), None)
                }
            };
            units.push(Unit {
                score: *score,
                worth,
                window,
            });
        }
        Self {
            units,
            windows: count,
        }
    }

    /// What a threshold comes to.
    pub(crate) fn at(&self, threshold: f64) -> Outcome {
        let mut best: Vec<Option<f64>> = vec![None; self.windows];
        let mut outcome = Outcome {
            windows: self.windows,
            ..Outcome::default()
        };
        for unit in self.units.iter().filter(|unit| unit.score >= threshold) {
            match unit.window {
                None => {
                    outcome.false_alarms += 1;
                    outcome.cost -= unit.worth;
                }
                Some(window) => {
                    if let Some(best) = best.get_mut(window) {
                        *best = Some(best.map_or(unit.worth, |best| best.max(unit.worth)));
                    }
                }
            }
        }
        outcome.caught = best.iter().flatten().count();
        outcome.gain = best.iter().flatten().sum();
        outcome
    }
}

/// What a threshold comes to over several files.
pub(crate) fn total<'a>(files: impl IntoIterator<Item = &'a Scored>, threshold: f64) -> Outcome {
    let outcomes = files.into_iter().map(|file| file.at(threshold));
    outcomes.fold(Outcome::default(), Outcome::and)
}

/// The threshold that suits each profile best, one for all files, in the order of [`PROFILES`]. Where nothing is better
/// than no detection at all, it is beyond every score.
pub(crate) fn best(files: &[Scored]) -> [Best; PROFILES.len()] {
    let mut windows = 0;
    let mut pool = Vec::new();
    for file in files {
        for unit in &file.units {
            let window = unit.window.map(|window| windows + window);
            pool.push(Unit { window, ..*unit });
        }
        windows += file.windows;
    }
    pool.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut thresholds = PROFILES.map(|profile| (-profile.miss * windows as f64, 1.1));
    let mut caught: Vec<Option<f64>> = vec![None; windows];
    let mut outcome = Outcome {
        windows,
        ..Outcome::default()
    };
    let mut rows = pool.iter().peekable();
    while let Some(unit) = rows.next() {
        match unit.window.and_then(|window| caught.get_mut(window)) {
            None => outcome.cost -= unit.worth,
            Some(best) => {
                let before = best.unwrap_or_default();
                outcome.caught += usize::from(best.is_none());
                let now = best.map_or(unit.worth, |best| best.max(unit.worth));
                outcome.gain += now - before;
                *best = Some(now);
            }
        }
        if rows.peek().is_some_and(|next| next.score == unit.score) {
            continue;
        }
        for (profile, (most, threshold)) in PROFILES.iter().zip(&mut thresholds) {
            let raw = outcome.raw(*profile);
            if raw > *most {
                (*most, *threshold) = (raw, unit.score);
            }
        }
    }
    let mut chosen = PROFILES
        .iter()
        .zip(thresholds)
        .map(|(profile, (_, threshold))| Best {
            score: total(files, threshold).score(*profile).unwrap_or_default(),
            threshold,
        });
    std::array::from_fn(|_| {
        chosen.next().unwrap_or(Best {
            score: 0.0,
            threshold: 1.1,
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const STANDARD: Profile = PROFILES[0];

    /// 1000 rows, of which the first 150 do not count, with one window of 100 rows.
    fn scored(detections: &[usize]) -> Scored {
        let mut scores = vec![0.1; 1000];
        for row in detections {
            scores[*row] = 0.9;
        }
        Scored::new(&scores, &[(500, 599)])
    }

    #[test]
    fn the_first_row_of_a_window_is_worth_a_hundred_and_nothing_nought() {
        for profile in PROFILES {
            assert!((scored(&[500]).at(0.5).score(profile).unwrap() - 100.0).abs() < 1e-9);
            assert_eq!(scored(&[]).at(0.5).score(profile), Some(0.0));
        }
    }

    #[test]
    fn only_the_first_detection_of_a_window_counts() {
        let late = scored(&[580]).at(0.5);
        let twice = scored(&[520, 580]).at(0.5);
        assert_eq!(
            twice.score(STANDARD),
            scored(&[520]).at(0.5).score(STANDARD)
        );
        assert!(late.score(STANDARD) < twice.score(STANDARD));
        assert_eq!(
            (twice.caught, twice.missed(), twice.false_alarms),
            (1, 0, 0)
        );
    }

    #[test]
    fn a_false_alarm_costs_its_weight_and_less_right_behind_a_window() {
        let hit = scored(&[500]).at(0.5).score(STANDARD).unwrap();
        let far = hit - scored(&[200, 500]).at(0.5).score(STANDARD).unwrap();
        let near = hit - scored(&[500, 605]).at(0.5).score(STANDARD).unwrap();
        assert!((far - 100.0 * 0.11 / 2.0).abs() < 1e-9, "{far}");
        assert!(near > 0.0 && near < far / 2.0, "{near}");
    }

    #[test]
    fn rows_of_the_learning_time_do_not_count_nor_does_a_window_in_it() {
        assert_eq!(scored(&[149, 500]).at(0.5).false_alarms, 0);
        assert_eq!(scored(&[150, 500]).at(0.5).false_alarms, 1);
        let early = Scored::new(&[0.9; 1000], &[(10, 100), (500, 599)]);
        assert_eq!(early.at(0.5).windows, 1);
        assert_eq!(Scored::new(&[0.9; 10], &[]).at(0.5).score(STANDARD), None);
    }

    #[test]
    fn the_best_threshold_parts_hits_from_false_alarms() {
        let mut scores = vec![0.1; 1000];
        (scores[500], scores[200]) = (0.8, 0.7);
        let best = best(&[Scored::new(&scores, &[(500, 599)])]);
        for best in best {
            assert_eq!(best.threshold, 0.8);
            assert!((best.score - 100.0).abs() < 1e-9);
        }
    }

    #[test]
    fn where_nothing_is_better_than_silence_the_best_threshold_is_silent() {
        let mut scores = vec![0.0; 1000];
        scores[160..400].fill(0.9);
        let best = best(&[Scored::new(&scores, &[(500, 599)])]);
        // At 0 every row is a detection: the window is caught, and hundreds of false alarms cost more.
        assert_eq!(
            best[0],
            Best {
                score: 0.0,
                threshold: 1.1
            }
        );
    }
}
