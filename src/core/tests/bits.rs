//! What readings leave behind, to the bit: replicas, replays and models that were stored by an older version must come to the
//! same. A change of the arithmetic that is meant to be none shows here.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail"
)]

use anomaly_core::command::config;
use anomaly_core::model::{Outcome, Verdict};
use anomaly_core::units::Timestamp;
use anomaly_core::{Model, Reading, Rules, codec};

const KEY: &[u8] = b"sensor:1:temperature";
const READINGS: usize = 4000;

/// Settings, and the digest of all verdicts, scores and states on the way.
const RECORDED: [(&str, u64); 10] = [
    ("auto on", 0x0ca8_b631_5386_2ef4),
    (
        "auto on learn no season 3600000 budget 86400000",
        0x88ec_2bd3_17a6_ece4,
    ),
    (
        "auto on direction low mindev 0.7 for 2 cooldown 60000",
        0x4b8d_471e_8ca5_0216,
    ),
    ("zscore 3 window 30", 0xc2ee_e034_5b1b_8b08),
    (
        "zscore 2 window 7 learn no for 2 clear 3 repeat 20000",
        0xb1b5_2f04_401d_2aa9,
    ),
    ("mad 4 window 31", 0x3ae1_5fcb_6fce_06cb),
    ("ewma 3 cusum 6 rate 2 critical 2", 0xdf3f_c8ca_2399_cddc),
    (
        "min 15 max 25 critical-max 30 clear-margin 1 recent 5",
        0x8dde_a17d_c19e_8497,
    ),
    ("stuck 5000 nodata 60000 auto off", 0xb254_ad43_649e_820f),
    (
        "auto on zscore 4 mad 6 ewma 4 cusum 8 rate 9 max 40 stuck 9000",
        0x6a00_8c3f_8d55_c19a,
    ),
];

fn rules(settings: &str) -> Rules {
    let words: Vec<&[u8]> = settings.split(' ').map(str::as_bytes).collect();
    let mut rules = Rules::default();
    let changes = config::changes(&words).unwrap();
    rules.set(b"*", &changes).unwrap();
    rules
}

/// Noise with spikes, shifts of level, stretches that stand still, extremes, gaps, repeats and stragglers.
fn signal() -> impl Iterator<Item = Reading> {
    let (mut state, mut at, mut level) = (7_u64, 1_764_000_000_000_i64, 20.0);
    // Knuth's MMIX generator.
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..READINGS).map(move |i| {
        let noise = (draw(4096) + draw(4096)) as f64 / 4096.0 - 1.0;
        let value = match draw(300) {
            0 => level + 30.0 * noise,
            1 => {
                level = 20.0 + draw(9) as f64;
                level
            }
            2 => [f64::MAX, f64::MIN, 0.0, -0.0, 5e-324, 1e30][draw(6) as usize],
            _ if i / 100 % 17 == 5 => level,
            _ => level + noise,
        };
        at += match draw(100) {
            0 => 0,
            1 => -1000 * draw(5) as i64,
            2 => 1000 * draw(500) as i64,
            3..10 => draw(2000) as i64,
            _ => 1000,
        };
        let at = Timestamp::from_millis(at).unwrap();
        Reading { at, value }
    })
}

/// FNV-1a.
fn digested(digest: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(digest, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn digest(settings: &str) -> u64 {
    let (mut rules, mut model) = (rules(settings), Model::default());
    let mut digest = 0xcbf2_9ce4_8422_2325;
    for (i, reading) in signal().enumerate() {
        let outcome = model.ingest(KEY, reading, &mut rules);
        digest = digested(digest, outcome.verdict.word().as_bytes());
        digest = digested(digest, &outcome.score().to_bits().to_le_bytes());
        if i % 8 == 0 {
            digest = digested(digest, &codec::save(&model));
        }
    }
    digest
}

#[test]
fn the_same_readings_leave_the_bits_that_are_recorded() {
    let found = RECORDED.map(|(settings, _)| (settings, digest(settings)));
    assert_eq!(found, RECORDED, "{found:#x?}");
}

#[test]
fn a_reading_that_nobody_asks_about_leaves_the_same_as_one_that_is_explained() {
    for (settings, _) in RECORDED {
        let (mut rules, mut outcome) = (rules(settings), Outcome::default());
        let (mut asked, mut unasked) = (Model::default(), Model::default());
        for reading in signal() {
            let explained = asked.ingest(KEY, reading, &mut rules);
            unasked.take_in(KEY, reading, &mut rules, false, &mut outcome);
            assert_eq!(outcome.verdict, explained.verdict, "{settings}");
            assert_eq!(outcome.score().to_bits(), explained.score().to_bits());
            assert_eq!(outcome.needed, explained.needed);
            assert_eq!(outcome.transition, explained.transition);
            assert_eq!(outcome.suppressed, explained.suppressed);
            // What an alert is made of is there.
            if outcome.transition.is_some() || outcome.verdict == Verdict::Critical {
                assert_eq!(outcome.finding, explained.finding);
                assert_eq!(outcome.own, explained.own);
            }
            assert!(codec::save(&asked) == codec::save(&unasked), "{settings}");
        }
    }
}
