//! `auto` once more, as plainly as can be: double precision throughout, every reading from the first one on, nothing
//! shared with the code it is the reference of but the constants.

use super::constants::*;
use crate::reading::Reading;

const SEASON: i64 = 86_400_000;
const BUDGET: f64 = 2_592_000_000.0;

#[derive(Clone, Copy, Default)]
struct Odds {
    level: f64,
    mean: f64,
    variance: f64,
    change: f64,
}

fn f(x: f32) -> f64 {
    f64::from(x)
}

impl Odds {
    /// Threshold of the `n`th error and its standard deviations.
    fn next(&mut self, error: f64, n: f64, least: f64, usual: f64) -> (f64, f64) {
        let forgets = if self.variance > 0.0 {
            (self.change / (2.0 * self.variance)).clamp(1e-4, 1.0)
        } else {
            1.0
        };
        let independent = n.clamp(1.0, 1.0 / usual) * forgets / (2.0 - forgets);
        let bar = least * (1.0 + f(SMALL_SAMPLE) * (least * least + 1.0) / (4.0 * independent));
        let before = self.level.sqrt();
        self.level += (1.0 / n).max(f(ERROR_RATE)) * (error - self.level);
        let root = self.level.sqrt();
        let (mut off, mut moved) = (root - self.mean, root - before);
        let sd = self.variance.sqrt();
        let z = if sd > 0.0 {
            off / sd
        } else {
            f64::INFINITY * off.max(0.0).signum()
        };
        if n > f64::from(SETTLED) && sd > 0.0 {
            let most = f(USUAL_CLIP) * sd;
            (off, moved) = (off.clamp(-most, most), moved.clamp(-most, most));
        }
        let rate = (1.0 / n).max(usual);
        self.mean = (self.mean + rate * off).max(0.0);
        self.variance = (1.0 - rate) * (self.variance + rate * off * off);
        self.change = (1.0 - rate) * self.change + rate * moved * moved;
        (bar, if z.is_nan() { 0.0 } else { z })
    }
}

fn quantile(rarity: f64) -> f64 {
    let t = (2.0 * rarity).sqrt();
    t - (2.515_517 + t * (0.802_853 + t * 0.010_328))
        / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)))
}

/// What is kept of a number of a prototype.
fn three_digits(x: f64) -> f64 {
    f(f32::from_bits(
        ((x as f32).to_bits() + 0x8000) & 0xffff_0000,
    ))
}

/// The ratio of the reading after those of the past, with everything about the sensor as it is by default.
pub(crate) fn ratio(past: &[Reading], now: Reading) -> Option<f64> {
    let anchor = past.first()?.value;
    let first_change = past.iter().chain([&now]).map(|r| (r.value - anchor).abs());
    let unit = first_change
        .into_iter()
        .find(|x| *x > 0.0)?
        .log2()
        .floor()
        .exp2();
    let (mut varied, mut interval) = (0.0, 0.0);
    let (mut last, mut recent, mut fast, mut long, mut noise, mut peak) =
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0_f64);
    let (mut means, mut lively) = ([0.0; 3], [0.0; 2]);
    let (mut beliefs, mut bins) = ([0.0; 2], [(0.0, 0.0, 0.0); BINS]);
    let (mut usual, mut spread) = ([0.0; 6], [0.0; 6]);
    let (mut lowest, mut highest, mut liveliest) = (0.0_f64, 0.0_f64, [0.0_f64; 2]);
    let mut met: Vec<[f64; 6]> = vec![];
    let mut odds = [Odds::default(); 4];
    let (mut lifts, mut common) = ([0.0; 4], 0.0);
    let (mut since, mut quiet, mut run, mut waits) = ([1e9; 4], 1e9, 0, false);
    let mut answer = None;
    for (i, reading) in past.iter().chain([&now]).enumerate() {
        let y = (reading.value - anchor) / unit;
        varied += if varied > 0.0 || y != 0.0 { 1.0 } else { 0.0 };
        let (n, began) = (f64::max(varied, 1.0), varied > 0.0);
        let elapsed = if i == 0 {
            0.0
        } else {
            reading.at.since(past[i - 1].at) as f64
        };
        if i == 1 {
            interval = elapsed;
        } else if i > 1 {
            let gap = elapsed.min(10.0 * interval + 1000.0);
            interval += f64::max(1.0 / (i as f64 + 1.0), f(CADENCE_RATE)) * (gap - interval);
        }
        // Season.
        let at = reading.at.millis().rem_euclid(SEASON);
        let bin = &mut bins[(at * BINS as i64 / SEASON) as usize];
        let (by_profile, by_recent) = (y - bin.0, y - recent);
        let known = bin.2 > 0.0;
        let off: f64 = if known && beliefs[0] < beliefs[1] {
            by_profile
        } else {
            by_recent
        };
        let error = off.abs();
        let own = if bin.2 >= 2.0 {
            f64::max(bin.1, f(QUIETEST) * noise)
        } else {
            noise
        };
        let scaled = if noise > 0.0 && own > 0.0 {
            (noise / own).sqrt()
        } else {
            1.0
        };
        if known {
            beliefs[0] += f(BELIEF_RATE) * (by_profile.abs() - beliefs[0]);
            beliefs[1] += f(BELIEF_RATE) * (by_recent.abs() - beliefs[1]);
        }
        let old_noise = noise;
        noise += f64::max(1.0 / n, f(NOISE_RATE)) * (error - noise);
        recent += f64::max(RECENT_RATE, 1.0 / n) * by_recent;
        if known {
            bin.2 = f64::min(
                bin.2 + 1.0,
                (f(BIN_TIME) / interval.max(1.0))
                    .clamp(f(BIN_READINGS), 60_000.0)
                    .floor(),
            );
            let most = f(BIN_VALUE_CLIP) * noise;
            let taught = if bin.2 > 2.0 {
                by_profile.clamp(-most, most)
            } else {
                by_profile
            };
            bin.0 += taught / bin.2;
            bin.1 += (error.min(f(BIN_NOISE_CLIP) * noise) - bin.1) / bin.2;
        } else {
            *bin = (y, noise, 1.0);
        }
        // Level.
        fast += f64::max(FAST_RATE, 1.0 / n) * (y - fast);
        let moved: f64 = fast - long;
        long += f64::max(LONG_RATE.min(interval / f(LONG_TIME)), 1.0 / n) * (y - long);
        // Shape.
        let change = f64::abs(y - last);
        last = y;
        for (mean, rate) in means
            .iter_mut()
            .zip([COURSE_QUICK, COURSE_MIDDLE, COURSE_SLOW])
        {
            *mean += rate * (y - *mean);
        }
        for (x, rate) in lively.iter_mut().zip([LIVELY_QUICK, LIVELY_SLOW]) {
            *x += f64::max(f(rate), 1.0 / n) * (change - *x);
        }
        let log = |x: f64| (x + f(LIFELESS) * noise + f(f32::MIN_POSITIVE)).ln();
        let features = [
            y - means[0],
            means[0] - means[1],
            means[1] - means[2],
            means[2],
            log(lively[0]),
            log(lively[1]),
        ];
        let (seen, mut unlike) = (varied - 10.0, 0.0);
        if seen == 1.0 {
            usual = features;
        } else if seen > 1.0 {
            let off: Vec<f64> = features
                .iter()
                .zip(usual)
                .map(|(x, usual)| x - usual)
                .collect();
            let deviations = off
                .iter()
                .zip(spread)
                .map(|(off, spread)| match (*off, spread) {
                    (off, spread) if spread > 0.0 => (off
                        / (spread * (std::f64::consts::PI / 2.0).sqrt()))
                    .clamp(-1000.0, 1000.0),
                    (0.0, _) => 0.0,
                    _ => 1000.0,
                });
            let distance = deviations.map(|x| x * x).sum::<f64>().sqrt();
            let taught = if seen > f64::from(SETTLED) {
                (f(FEATURE_CLIP) / distance).min(1.0)
            } else {
                1.0
            };
            let rate = f64::max(1.0 / seen, f(FEATURE_RATE));
            for ((off, usual), spread) in off.iter().zip(&mut usual).zip(&mut spread) {
                *usual += rate * off * taught;
                *spread += rate * ((off * taught).abs() - *spread);
            }
            unlike = if seen > 30.0 {
                distance.min(1000.0)
            } else {
                0.0
            };
        }
        // Novelty.
        (lowest, highest) = (lowest.min(y), highest.max(y));
        liveliest = [liveliest[0].max(lively[0]), liveliest[1].max(lively[1])];
        let mut novel = 0.0;
        if seen > 30.0 {
            let state = [y, means[0], means[1], means[2], lively[0], lively[1]];
            let wide = highest - lowest;
            let scales = [wide, wide, wide, wide, liveliest[0], liveliest[1]];
            let distance = |known: &[f64; 6]| {
                let each = state
                    .iter()
                    .zip(known)
                    .zip(scales)
                    .map(|((a, b), scale)| (a - b).abs() / scale);
                each.fold(0.0, f64::max)
            };
            let nearest = met
                .iter()
                .map(distance)
                .enumerate()
                .min_by(|a, b| a.1.total_cmp(&b.1));
            novel = nearest.map_or(0.0, |(_, distance)| distance);
            match nearest {
                Some((place, distance)) if distance <= f(RADIUS) => met[..=place].rotate_right(1),
                _ => {
                    met.insert(0, state.map(three_digits));
                    met.truncate(PROTOTYPES);
                }
            }
        }
        // Control.
        for lift in &mut lifts {
            *lift = f64::max(*lift - f(LIFT) * elapsed / BUDGET, 0.0);
        }
        common = f64::max(common - f(COMMON_LIFT) * elapsed / BUDGET, 0.0);
        let rarity = (f(INDEPENDENT) * BUDGET / interval.max(1.0))
            .ln()
            .max(f(LEAST_BUDGET) * std::f64::consts::LN_10);
        let least = (f(STRICTNESS) + f(HEAVIER) * rarity) * quantile(rarity);
        let counted = f64::max(seen - 30.0, 0.0);
        let slow = f(USUAL_RATE).min((interval / f(USUAL_TIME)).max(1e-6));
        let judged = [
            (error * scaled, n, WARMUP, f(USUAL_RATE)),
            (moved.abs(), n, WARMUP, slow),
            (unlike, counted, SHAPE_WARMUP, f(USUAL_RATE)),
            (novel, counted, NOVELTY_WARMUP, f(USUAL_RATE)),
        ];
        let mut ratios = [0.0; 4];
        for (k, (error, count, ripe, rate)) in judged.into_iter().enumerate() {
            if count > 0.0 {
                let (bar, z) = odds[k].next(error, count, least * f(SHARES[k]), rate);
                if count >= f64::from(ripe) {
                    ratios[k] = (z / bar / (1.0 + lifts[k]) / (1.0 + common)).max(0.0);
                }
            }
        }
        let noises = if old_noise > 0.0 {
            error * scaled / old_noise
        } else {
            0.0
        };
        if n >= f64::from(WARMUP) && peak > 0.0 {
            ratios[0] = f64::max(
                ratios[0],
                noises / (f(BEYOND) * peak * (1.0 + lifts[0]) * (1.0 + common)),
            );
        }
        let taught = if n > f64::from(SETTLED) {
            noises.min(f(BEYOND) * peak)
        } else {
            noises
        };
        peak = (peak * (1.0 - f(PEAK_RATE))).max(taught);
        let warm = i >= WARMUP as usize && began;
        let ratio = ratios.iter().copied().fold(0.0, f64::max);
        let share = f(QUIET_SHARE) * 2_592_000_000.0;
        let need = f(QUIET).max(share.round() / interval.max(1.0)).floor();
        let open = quiet >= need || (waits || quiet >= f64::from(PAUSE)) && ratio >= AGAIN;
        answer = warm.then_some(if open { ratio } else { ratio.min(0.9) });
        let crossed = ratios.map(|ratio| warm && ratio > 1.0);
        for k in 0..4 {
            if crossed[k] {
                lifts[k] += if since[k] >= need { f(LIFT) } else { 0.0 };
                since[k] = 0.0;
            } else {
                since[k] += 1.0;
            }
        }
        if !crossed.contains(&true) {
            (quiet, run, waits) = (quiet + 1.0, 0, false);
            continue;
        }
        if open && run == 0 {
            common += f(COMMON_LIFT);
            (run, waits) = (1, false);
        } else if run > 0 {
            run += 1;
        } else {
            waits |= quiet >= f64::from(PAUSE);
        }
        quiet = 0.0;
    }
    answer
}
