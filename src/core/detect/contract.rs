//! The contract that every detector keeps, tested through [`Model::ingest`](crate::Model::ingest) with real rules.
//!
//! A new detector adds one row to [`row`]; nothing here may name a kind outside that table.

use proptest::prelude::*;

use super::{Finding, Kind};
use crate::codec;
use crate::command::{Reply, add, info};
use crate::model::{Outcome, Verdict};
use crate::more::More;
use crate::reading::Reading;
use crate::reason;
use crate::testing::{KEY, Noise, Sensor, any_value, at, cases, doubles, get, reading};
use crate::units::{Severity, Side};
use crate::window::Window;

/// What the tests must know of a detector: how to switch it on, how to make a reading of a given ratio.
struct Row {
    kind: Kind,
    /// The settings that switch it on for readings that are scaled and moved.
    on: fn(scale: f64, offset: f64) -> String,
    /// Readings, one a second, that make it ready.
    past: &'static [f64],
    /// The value of no deviation after them.
    centre: f64,
    /// The deviation that is exactly at the threshold one second later.
    unit: f64,
    /// Readings it needs by default under these settings.
    warmup: u32,
    /// Fixed limits and their own critical limits: `warmup`, `mindev` and `critical` do not concern them.
    fixed: Option<&'static str>,
    /// Whether it compares with statistics of the past, which abnormal readings may enter.
    learns: bool,
    /// Whether what it measures depends on the time between readings.
    by_time: bool,
    /// The time without change, in ms, that is exactly at the threshold: it judges standing still, not a value.
    standing: Option<i64>,
    /// Whether abnormal readings add up, also where they do not enter the baseline.
    adds_up: bool,
    /// Bytes on the heap, once warm by default, beside the model itself.
    bytes: usize,
    /// Where it gives a number for the deviation at a ratio, this is looked for; and alerts are rationed.
    sought: bool,
    /// The ratio by the plainest code there is, `None` where it cannot judge.
    naive: fn(past: &[Reading], now: Reading) -> Option<f64>,
}

/// Mean 0 and standard deviation 1, median 0 and median deviation 1, without any rounding.
const UNIT_FIVE: [f64; 5] = [-1.0, -1.0, 1.0, 1.0, 0.0];

/// Two readings and zeros.
const fn pair<const N: usize>(size: f64) -> [f64; N] {
    let mut all = [0.0; N];
    (all[0], all[1]) = (-size, size);
    all
}

/// Even between -1 and 1, with 31 bits.
const fn noise<const N: usize>() -> [f64; N] {
    let (mut all, mut state, mut i) = ([0.0; N], 11_u64, 0);
    while i < N {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        all[i] = (state >> 33) as f64 / 1_073_741_824.0 - 1.0;
        i += 1;
    }
    all
}

fn row(kind: Kind) -> Row {
    let plain = Row {
        kind,
        on: |_, _| String::new(),
        past: &[],
        centre: 0.0,
        unit: 0.0,
        warmup: 0,
        fixed: None,
        learns: false,
        by_time: false,
        standing: None,
        adds_up: false,
        bytes: 0,
        sought: false,
        naive: |_, _| None,
    };
    match kind {
        Kind::Range => Row {
            on: |scale, offset| {
                let [low, high] = [10.0, 30.0].map(|x| (x + offset) * scale);
                format!("min {low:?} max {high:?}")
            },
            past: &[20.0, 21.0],
            centre: 20.0,
            unit: 10.0,
            fixed: Some("critical-min 5 critical-max 35"),
            naive: |_, now| Some((now.value - 20.0).abs() / 10.0),
            ..plain
        },
        Kind::Zscore => Row {
            on: |_, _| "zscore 3 window 5".into(),
            past: &UNIT_FIVE,
            unit: 3.0,
            warmup: 5,
            learns: true,
            bytes: size_of::<Window>(),
            naive: |past, now| {
                let window = past.get(past.len().checked_sub(5)?..)?;
                let mean = window.iter().map(|r| r.value).sum::<f64>() / 5.0;
                let squares: f64 = window.iter().map(|r| (r.value - mean).powi(2)).sum();
                Some((now.value - mean).abs() / (squares / 4.0).sqrt() / 3.0)
            },
            ..plain
        },
        Kind::Mad => Row {
            // 4 · 0.6745
            on: |_, _| "mad 2.698 window 5".into(),
            past: &UNIT_FIVE,
            unit: 4.0,
            warmup: 5,
            learns: true,
            bytes: size_of::<Window>() + 56 + 5 * 4 + 1,
            naive: |past, now| {
                let window = past.get(past.len().checked_sub(5)?..)?;
                let middle = |mut values: Vec<f64>| {
                    values.sort_by(f64::total_cmp);
                    values[2]
                };
                let median = middle(window.iter().map(|r| r.value).collect());
                let mad = middle(window.iter().map(|r| (r.value - median).abs()).collect());
                Some(0.6745 * (now.value - median).abs() / mad / 2.698)
            },
            ..plain
        },
        Kind::Ewma => Row {
            on: |_, _| "ewma 3 alpha 0.5".into(),
            // Each zero halves the variance, and the two at the beginning leave 2^28.
            past: &const { pair::<30>(16384.0) },
            unit: 3.0,
            warmup: 30,
            learns: true,
            bytes: 24,
            naive: |past, now| {
                if past.len() < 30 {
                    return None;
                }
                // Weights by age: a half, a quarter, …, the two oldest readings alike.
                let weight = |age: usize| 0.5f64.powi(age.min(past.len() - 2) as i32 + 1);
                let weighted = |f: &dyn Fn(f64) -> f64| -> f64 {
                    let by_age = past.iter().rev().enumerate();
                    by_age.map(|(age, r)| weight(age) * f(r.value)).sum()
                };
                let mean = weighted(&|x| x);
                let variance = weighted(&|x| (x - mean).powi(2));
                Some((now.value - mean).abs() / variance.sqrt() / 3.0)
            },
            ..plain
        },
        Kind::Rate => Row {
            on: |scale, _| format!("rate {:?}", 10.0 * scale),
            past: &[0.0],
            unit: 10.0,
            warmup: 1,
            by_time: true,
            naive: |past, now| {
                let last = past.last()?;
                let seconds = (now.at.millis() - last.at.millis()) as f64 / 1000.0;
                (seconds > 0.0).then(|| (now.value - last.value).abs() / seconds / 10.0)
            },
            ..plain
        },
        Kind::Cusum => Row {
            on: |_, _| "cusum 16 drift 0".into(),
            // The mean square of the fifty is 1.
            past: &const { pair::<50>(5.0) },
            unit: 16.0,
            warmup: 50,
            learns: true,
            adds_up: true,
            bytes: 64,
            naive: |past, now| {
                let (mut level, mut next): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
                let (mut above, mut below, mut ratio) = (0.0, 0.0, None);
                for x in past.iter().chain([&now]).map(|r| r.value) {
                    if level.len() < 50 {
                        level.push(x);
                        continue;
                    }
                    let n = level.len() as f64;
                    let mean = level.iter().sum::<f64>() / n;
                    let sd = (level.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
                    above = f64::max(0.0, above + (x - mean) / sd);
                    below = f64::max(0.0, below - (x - mean) / sd);
                    let now = f64::max(above, below) / 16.0;
                    ratio = Some(now);
                    (above, below) = (f64::min(above, 24.0), f64::min(below, 24.0));
                    if now <= 1.0 {
                        next.clear();
                        level.push(x);
                    } else {
                        next.push(x);
                        if next.len() == 50 {
                            level = std::mem::take(&mut next);
                            (above, below) = (0.0, 0.0);
                        }
                    }
                }
                ratio
            },
            ..plain
        },
        Kind::Stuck => Row {
            on: |_, _| "stuck 10000000 auto off".into(),
            past: &[5.0],
            centre: 5.0,
            unit: 1.0,
            by_time: true,
            standing: Some(10_000_000),
            naive: |past, now| {
                let same = past.iter().rev().take_while(|r| r.value == now.value);
                let since = same.last().map_or(now.at, |r| r.at);
                Some((now.at.millis() - since.millis()) as f64 / 1e7)
            },
            ..plain
        },
        Kind::Auto => Row {
            on: |_, _| "auto on".into(),
            past: &const { noise::<300>() },
            warmup: 120,
            learns: true,
            adds_up: true,
            bytes: size_of::<super::Auto>(),
            sought: true,
            naive: super::auto::naive::ratio,
            ..plain
        }
        .measured(),
        Kind::Nodata => panic!("it judges no readings"),
    }
}

fn rows() -> impl Iterator<Item = Row> {
    Kind::JUDGING.into_iter().map(row)
}

impl Row {
    fn name(&self) -> &'static str {
        self.kind.word()
    }

    /// A sensor that has read nothing, with more settings.
    fn fresh(&self, more: &str) -> Sensor {
        Sensor::new(&format!("{} {more}", (self.on)(1.0, 0.0)))
    }

    /// A sensor that is ready to judge the reading of [`Self::now`].
    fn ready(&self, more: &str) -> Sensor {
        let mut sensor = self.fresh(more);
        for (second, value) in (0..).zip(self.past) {
            sensor.add(second * 1000, *value);
        }
        sensor
    }

    fn now(&self) -> i64 {
        self.past.len() as i64 * 1000
    }

    /// With centre and unit as they are found.
    fn measured(mut self) -> Self {
        let asked = self.ready("").ask(self.now(), 0.0);
        self.centre = asked.finding.unwrap().expected.unwrap();
        self.unit = self.at(1.0) - self.centre;
        self
    }

    /// The farthest value whose ratio is no more than that, to that side.
    fn seek(&self, ratio: f64) -> f64 {
        let mut sensor = self.ready("");
        let (mut inside, mut beyond) = (0.0, 1e12);
        for _ in 0..120 {
            let middle = (inside + beyond) / 2.0;
            let value = self.centre + middle * ratio.signum();
            if sensor.ask(self.now(), value).finding.unwrap().ratio > ratio.abs() {
                beyond = middle;
            } else {
                inside = middle;
            }
        }
        self.centre + inside * ratio.signum()
    }

    /// What is meant to be exactly at a ratio, where that can be reached.
    fn reached(&self, ratio: f64) -> f64 {
        if self.sought {
            ratio * (1.0 + 1e-6)
        } else {
            ratio
        }
    }

    /// The value whose statistic is that many times the threshold; negative below the centre.
    fn at(&self, ratio: f64) -> f64 {
        match self.standing {
            None if self.sought => self.seek(ratio),
            None => self.centre + ratio * self.unit,
            Some(_) => self.centre,
        }
    }

    /// Whether `mindev`, `direction` and `warmup` have anything to go by.
    fn deviates(&self) -> bool {
        self.standing.is_none()
    }

    /// A sensor that is ready is asked for a reading whose statistic is that many times the threshold.
    fn judge(&self, sensor: &mut Sensor, ratio: f64) -> Outcome {
        let when = match self.standing {
            None => self.now(),
            Some(limit) => (ratio.abs() * limit as f64).round() as i64,
        };
        sensor.ask(when, self.at(ratio))
    }

    /// A signal of noise with spikes, one reading a second, around the centre; one that stands still now and then for what
    /// judges that.
    fn signal(&self, seed: u64, n: usize) -> Vec<Reading> {
        let mut noise = Noise(seed);
        if let Some(limit) = self.standing {
            return (0..n as i64)
                .map(|i| reading(i * limit / 3, self.centre + noise.next().signum()))
                .collect();
        }
        (0..n as i64)
            .map(|second| {
                let spike = if noise.next() > 0.8 {
                    4.0 * noise.next().signum()
                } else {
                    1.0
                };
                reading(
                    second * 1000,
                    self.centre + noise.next() * self.unit * 0.4 * spike,
                )
            })
            .collect()
    }
}

fn verdicts(settings: &str, signal: &[Reading]) -> Vec<(Verdict, f64)> {
    let mut sensor = Sensor::new(settings);
    signal
        .iter()
        .map(|r| {
            let outcome = sensor.add(r.at.millis(), r.value);
            (outcome.verdict, outcome.score())
        })
        .collect()
}

fn abnormal(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Warning | Verdict::Critical)
}

#[test]
fn every_detector_has_a_row_that_switches_on_it_alone() {
    for row in rows() {
        let profile = row.fresh("").profile();
        let on: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| profile.has(*kind))
            .collect();
        assert_eq!(on, [row.kind]);
        assert!(
            row.kind
                .settings()
                .iter()
                .any(|setting| (row.on)(1.0, 0.0).contains(setting.spec().name)),
            "{}",
            row.name()
        );
    }
}

#[test]
fn a_statistic_exactly_at_its_threshold_scores_one_half_and_is_normal() {
    for row in rows() {
        let mut sensor = row.ready("");
        for side in [1.0, -1.0] {
            let on = row.judge(&mut sensor, side);
            let off = if row.sought { 1e-6 } else { 0.0 };
            assert!(
                on.verdict == Verdict::Normal && (0.5 - off..=0.5).contains(&on.score()),
                "{} {on:?}",
                row.name()
            );
            let beyond = row.judge(&mut sensor, side * (1.0 + 1e-6));
            assert!(
                abnormal(beyond.verdict) && beyond.score() > 0.5,
                "{} {beyond:?}",
                row.name()
            );
            let inside = row.judge(&mut sensor, side * (1.0 - 1e-6));
            assert!(
                inside.verdict == Verdict::Normal && inside.score() < 0.5,
                "{} {inside:?}",
                row.name()
            );
        }
    }
}

#[test]
fn the_score_rises_with_the_deviation_on_both_sides() {
    for row in rows() {
        let mut sensor = row.ready("");
        for side in [1.0, -1.0] {
            // What went before may have come near to a threshold by itself.
            let least = if row.sought { 0.9 } else { 0.0 };
            let scores: Vec<f64> = [0.0, 0.1, 0.9, 1.0, 1.1, 1.4, 1.6, 3.0, 100.0, 1e6]
                .into_iter()
                .filter(|ratio| *ratio >= least)
                .map(|ratio| row.judge(&mut sensor, side * ratio).score())
                .collect();
            assert!(
                scores.windows(2).all(|pair| pair[0] < pair[1]),
                "{} {scores:?}",
                row.name()
            );
            assert!(scores[0] < 0.1 + least / 2.0 && *scores.last().unwrap() < 1.0);
        }
    }
}

#[test]
fn a_finding_says_to_which_side_and_around_what_it_deviates() {
    for row in rows() {
        let mut sensor = row.ready("");
        for (ratio, side) in [(2.0, Side::High), (-2.0, Side::Low)] {
            let found: Finding = row.judge(&mut sensor, ratio).finding.unwrap();
            if !row.deviates() {
                assert_eq!((found.kind, found.side), (row.kind, Side::None));
                assert_eq!(
                    (found.expected, found.lower, found.upper),
                    (None, None, None)
                );
                continue;
            }
            assert_eq!((found.kind, found.side), (row.kind, side));
            let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
            let near = |a: f64, b: f64| {
                let most = if row.sought { 1e-3 * row.unit } else { 0.0 };
                assert!((a - b).abs() <= most, "{}: {a} is not {b}", row.name());
            };
            near(lower, row.at(-1.0));
            near(upper, row.at(1.0));
            near(found.expected.unwrap_or(row.centre), row.centre);
        }
    }
}

#[test]
fn nothing_fires_before_the_warmup_is_over_and_the_readings_needed_count_down() {
    for row in rows() {
        for (more, needed) in [("", row.warmup), ("warmup 12", 12), ("warmup 70", 70)] {
            if !row.deviates() {
                assert!(abnormal(row.judge(&mut row.ready(more), 2.0).verdict));
                continue;
            }
            let needed = if row.fixed.is_some() { 0 } else { needed };
            let mut sensor = row.fresh(more);
            for i in 0..needed {
                let wild = sensor.add(i64::from(i) * 1000, row.at(f64::from(i % 7) * 9.0));
                assert_eq!(
                    (
                        wild.verdict,
                        wild.needed,
                        wild.score(),
                        wild.transition.is_none()
                    ),
                    (Verdict::Warmup, needed - i, 0.0, true),
                    "{} {more}",
                    row.name()
                );
            }
            let first = sensor.add(i64::from(needed) * 1000, row.at(1e6));
            assert!(
                abnormal(first.verdict) && first.needed == 0 && first.transition.is_some(),
                "{} {more} {first:?}",
                row.name()
            );
        }
    }
}

#[test]
fn direction_watches_the_side_it_names() {
    for row in rows() {
        for (more, up, down) in [
            ("direction both", true, true),
            ("direction high", true, false),
            ("direction low", false, true),
        ] {
            let mut sensor = row.ready(more);
            for (ratio, watched) in [(2.0, up), (-2.0, down)] {
                let fires = watched || !row.deviates();
                let outcome = row.judge(&mut sensor, ratio);
                assert_eq!(
                    (abnormal(outcome.verdict), outcome.score() > 0.5),
                    (fires, fires),
                    "{} {more} {ratio}",
                    row.name()
                );
            }
        }
    }
}

#[test]
fn deviations_below_mindev_never_fire_but_limits_are_limits() {
    for row in rows() {
        for side in [1.0, -1.0] {
            let mindev = (row.at(side * row.reached(3.0)) - row.centre).abs();
            let mut sensor = row.ready(&format!("mindev {mindev:?}"));
            for ratio in [1.1, 2.0, 2.999] {
                let small = row.judge(&mut sensor, side * ratio);
                let fires = row.fixed.is_some() || !row.deviates();
                assert_eq!(
                    (abnormal(small.verdict), small.score() > 0.5),
                    (fires, fires),
                    "{} {ratio}",
                    row.name()
                );
            }
            assert!(
                abnormal(row.judge(&mut sensor, side * row.reached(3.0)).verdict),
                "{}",
                row.name()
            );
        }
    }
}

#[test]
fn a_statistic_is_critical_at_the_factor_and_a_limit_beyond_its_critical_limit() {
    for row in rows() {
        let severity = |sensor: &mut Sensor, ratio: f64| {
            let found = row.judge(sensor, ratio).finding.unwrap();
            found.severity
        };
        let (warning, critical) = (Some(Severity::Warning), Some(Severity::Critical));
        for side in [1.0, -1.0] {
            let mut sensor = row.ready(row.fixed.unwrap_or(""));
            assert_eq!(
                severity(&mut sensor, side * 1.499),
                warning,
                "{}",
                row.name()
            );
            assert_eq!(
                severity(&mut sensor, side * 1.501),
                critical,
                "{}",
                row.name()
            );
            let on = if row.fixed.is_some() {
                warning
            } else {
                critical
            };
            let factor = row.reached(1.5);
            assert_eq!(severity(&mut sensor, side * factor), on, "{}", row.name());

            let mut four = row.ready("critical 4");
            assert_eq!(severity(&mut four, side * 3.99), warning, "{}", row.name());
            let far = if row.fixed.is_some() {
                warning
            } else {
                critical
            };
            assert_eq!(severity(&mut four, side * 4.01), far, "{}", row.name());
        }
    }
}

#[test]
fn verdicts_do_not_depend_on_the_unit_or_the_level() {
    for row in rows() {
        let mut signal = row.signal(7, 500);
        if row.sought {
            // Its alerts are few: these leave no doubt.
            for r in signal.iter_mut().skip(149).step_by(150) {
                r.value += 10.0 * row.unit;
            }
        }
        let plain = verdicts(&(row.on)(1.0, 0.0), &signal);
        let fired = plain.iter().filter(|(v, _)| abnormal(*v)).count();
        assert!(
            (if row.sought { 1 } else { 10 }..250).contains(&fired),
            "{}: {fired} of 500 fire",
            row.name()
        );
        for (scale, offset) in [
            (1e-9, 0.0),
            (1e-3, 0.0),
            (1e9, 0.0),
            (1.0, 1e6),
            (1e-9, 1e6),
            (1e9, 1e6),
        ] {
            let moved: Vec<_> = signal
                .iter()
                .map(|r| reading(r.at.millis(), (r.value + offset) * scale))
                .collect();
            // Single precision rounds elsewhere in another unit: a few of 500 may turn out otherwise.
            let (most, few) = if row.sought { (0.02, 5) } else { (1e-5, 0) };
            let moved = verdicts(&(row.on)(scale, offset), &moved);
            let differ = plain.iter().zip(&moved).enumerate();
            let differ: Vec<_> = differ
                .filter(|(_, (a, b))| a.0 != b.0 || (a.1 - b.1).abs() >= most)
                .collect();
            assert!(
                differ.len() <= few,
                "{} ×{scale} +{offset}: {differ:?}",
                row.name()
            );
        }
    }
}

#[test]
fn a_gap_in_time_changes_nothing_but_what_is_measured_by_time() {
    for row in rows() {
        let mut sensor = row.ready("");
        for gap in [9, 599, 31_536_000] {
            let later = row.now() + gap * 1000;
            let same = row.judge(&mut sensor, 2.0);
            let outcome = sensor.ask(later, row.at(2.0));
            if let Some(limit) = row.standing {
                let ratio = outcome.finding.unwrap().ratio;
                assert_eq!(ratio, later as f64 / limit as f64);
            } else if row.by_time {
                let longer = 1.0 + gap as f64;
                let ratio = outcome.finding.unwrap().ratio;
                assert!((ratio * longer - 2.0).abs() < 1e-9, "{} {gap}", row.name());
                assert_eq!(outcome.verdict, Verdict::Normal);
            } else if row.sought {
                // Its threshold comes from the cadence, and its control from the time: neither turns the verdict.
                let side = |outcome: &Outcome| outcome.finding.unwrap().side;
                assert_eq!(
                    (outcome.verdict, side(&outcome)),
                    (same.verdict, side(&same))
                );
            } else {
                assert_eq!(
                    (outcome.verdict, outcome.finding),
                    (same.verdict, same.finding),
                    "{} {gap}",
                    row.name()
                );
            }
        }
    }
}

#[test]
fn a_repeated_reading_changes_nothing_but_its_counter() {
    for row in rows() {
        let mut sensor = row.fresh("for 2 recent 5");
        for r in row.signal(3, 60) {
            sensor.add(r.at.millis(), r.value);
            let (before, count) = (sensor.stored(), sensor.model.duplicates);
            let again = sensor.add(r.at.millis(), r.value);
            assert_eq!(
                (again.verdict, again.archive),
                (Verdict::Duplicate, false),
                "{}",
                row.name()
            );
            assert_eq!(sensor.model.duplicates, count + 1);
            sensor.model.duplicates = count;
            assert_eq!(sensor.stored(), before, "{}", row.name());
        }
    }
}

#[test]
fn with_learn_no_abnormal_readings_do_not_move_the_baseline() {
    for row in rows() {
        // Of what adds up only the baseline is compared.
        let of = |found: Option<Finding>| match found {
            Some(found) if row.adds_up => (None, found.expected),
            found => (found, None),
        };
        let expected = |more: &str| {
            let mut sensor = row.ready(more);
            let before = of(row.judge(&mut sensor, 0.5).finding);
            for i in 0..70 {
                let outcome = sensor.add(row.now() + i * 1000, row.at(50.0));
                assert!(
                    abnormal(outcome.verdict)
                        || more == "learn yes"
                        || row.by_time
                        || row.sought && i > 0,
                    "{}",
                    row.name()
                );
            }
            let after = of(sensor.ask(row.now() + 70_000, row.at(0.5)).finding);
            (before, after)
        };
        if row.learns {
            let (before, after) = expected("learn no");
            assert_eq!(before, after, "{}", row.name());
            let (before, after) = expected("learn yes");
            assert_ne!(before, after, "{}", row.name());
        } else if !row.by_time {
            let (before, after) = expected("learn yes");
            assert_eq!(before, after, "{}", row.name());
        }
    }
}

#[test]
fn it_agrees_with_a_reference_written_as_plainly_as_can_be() {
    for row in rows() {
        let (mut judged, mut differ) = (0, vec![]);
        for seed in 0..20 {
            let signal = row.signal(seed, if row.sought { 400 } else { 200 });
            let mut sensor = row.fresh("");
            for (i, now) in signal.iter().enumerate() {
                let outcome = sensor.add(now.at.millis(), now.value);
                let Some(ratio) = (row.naive)(&signal[..i], *now) else {
                    assert!(outcome.finding.is_none());
                    continue;
                };
                judged += 1;
                let score = ratio / (1.0 + ratio);
                let most = if row.sought { 0.02 } else { 1e-5 };
                let same = (outcome.score() - score).abs() < most
                    && abnormal(outcome.verdict) == (ratio > 1.0);
                if !same {
                    differ.push(format!(
                        "seed {seed} at {i}: {} is not {score}",
                        outcome.score()
                    ));
                }
            }
        }
        // What is nearly at a boundary of single precision may turn out otherwise.
        let few = if row.sought { judged / 100 } else { 0 };
        assert!(
            differ.len() <= few,
            "{}: {} of {judged}: {:?}",
            row.name(),
            differ.len(),
            differ.first()
        );
        assert!(judged >= 3000, "{}: {judged}", row.name());
    }
}

#[test]
fn a_warm_sensor_takes_the_bytes_that_are_documented_and_no_more_however_long_it_runs() {
    let bare = Sensor::new("auto off").model.bytes();
    for row in rows() {
        for more in [0, 5000] {
            let mut sensor = row.ready("for 10000");
            for r in row.signal(4, more) {
                sensor.add(r.at.millis() + row.now(), r.value);
            }
            let more = sensor.model.more.as_ref().map_or(0, |_| size_of::<More>());
            let bytes = bare + row.bytes + more;
            assert_eq!(sensor.model.bytes(), bytes, "{}", row.name());
        }
    }
}

#[test]
fn info_and_explain_show_what_the_detector_goes_by() {
    for row in rows() {
        let shown = |sensor: &mut Sensor| {
            let profile = sensor.profile();
            let told = info::reply(KEY, &sensor.model, &profile, at(0), 0);
            let detector = get(get(&told, "detectors"), row.name()).clone();
            [
                "score",
                "threshold",
                "warm",
                "needed",
                "expected",
                "lower",
                "upper",
            ]
            .map(|name| get(&detector, name).clone())
        };
        let whole = |n: u32| Reply::Int(n.into());
        let mut young = row.fresh("");
        let [score, _, warm, needed, ..] = shown(&mut young);
        assert_eq!(
            (score, warm, needed),
            (
                Reply::Double(0.0),
                whole((row.warmup == 0).into()),
                whole(row.warmup)
            ),
            "{}",
            row.name()
        );
        let mut sensor = row.ready("");
        // What INFO tells is what a reading a second later, like the last, would be judged by.
        let last = sensor.model.newest().unwrap();
        let found = sensor
            .ask(last.at.millis() + 1000, last.value)
            .finding
            .unwrap();
        let [_, threshold, warm, needed, expected, lower, upper] = shown(&mut sensor);
        assert_eq!(
            (threshold, warm, needed),
            (Reply::Double(found.threshold), whole(1), whole(0)),
            "{}",
            row.name()
        );
        assert_eq!(
            [expected, lower, upper],
            [found.expected, found.lower, found.upper].map(Reply::double),
            "{}",
            row.name()
        );
        let outcome = row.judge(&mut sensor, 2.0);
        let found = outcome.finding.unwrap();
        let profile = sensor.profile();
        let told = add::explained(reading(0, row.at(2.0)), &outcome, &profile);
        assert_eq!(
            ["kind", "threshold", "expected", "lower", "upper"]
                .map(|name| get(&told, name).clone()),
            [
                Reply::text(row.name()),
                Reply::Double(found.threshold),
                Reply::double(found.expected),
                Reply::double(found.lower),
                Reply::double(found.upper),
            ]
        );
    }
}

/// All detectors of the table at once, and each alone.
fn settings() -> Vec<String> {
    let alone: Vec<String> = rows().map(|row| (row.on)(1.0, 0.0)).collect();
    let together = format!("{} auto on", alone.join(" "));
    let auto = "auto on warmup 5".into();
    alone.into_iter().chain([auto, together]).collect()
}

/// Readings with any values, mostly in order: a step of 0 is another value of the same instant.
fn any_readings() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![6 => 1..5000i64, 1 => Just(0), 1 => -3000..0i64, 1 => Just(1 << 40)];
    prop::collection::vec((step, any_value()), 1..80).prop_map(|steps| {
        let mut now = 1_000_000_i64;
        steps
            .into_iter()
            .map(|(step, value)| {
                now = (now + step).max(0);
                (now, value)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn no_reading_whatever_makes_a_number_that_is_none(readings in any_readings(), mindev in prop::sample::select(vec![0.0, 1e-320, 1e300])) {
        for settings in settings() {
            let mut sensor = Sensor::new(&format!("{settings} mindev {mindev:?} recent 9 clear-margin 1e300"));
            for (ms, value) in &readings {
                let outcome = sensor.add(*ms, *value);
                let profile = sensor.profile();
                let explained = add::explained(reading(*ms, *value), &outcome, &profile);
                let told = info::reply(KEY, &sensor.model, &profile, at(0), 0);
                prop_assert!((0.0..=1.0).contains(&outcome.score()));
                for x in doubles(&explained).into_iter().chain(doubles(&told)) {
                    prop_assert!(x.is_finite(), "{settings}: {explained:?} {told:?}");
                }
                let why = reason::of_outcome(reading(*ms, *value), &outcome, &profile);
                prop_assert!(!why.contains("inf") && !why.contains("NaN"), "{why}");
                prop_assert!(codec::load(&sensor.stored()).is_ok());
            }
        }
    }

    #[test]
    fn saved_and_loaded_at_any_reading_it_goes_on_with_the_same_bits(readings in any_readings(), more in prop::sample::select(vec!["", "learn no", "for 2 clear 2 cooldown 9000 repeat 2000 recent 3"])) {
        for settings in settings() {
            let settings = format!("{settings} {more}");
            let (mut stays, mut moves) = (Sensor::new(&settings), Sensor::new(&settings));
            for (ms, value) in &readings {
                moves.model = codec::load(&moves.stored()).unwrap();
                prop_assert_eq!(stays.add(*ms, *value), moves.add(*ms, *value));
                prop_assert_eq!(stays.stored(), moves.stored());
            }
        }
    }
}
