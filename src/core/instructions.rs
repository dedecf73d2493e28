//! Takes in readings of one sensor under one rule as the server does, and does nothing else: `instructions N SETTING…`. scripts/instructions.sh
//! runs it under callgrind, which counts.

use std::hint::black_box;
use std::process::ExitCode;

use anomaly_core::command::config;
use anomaly_core::model::Outcome;
use anomaly_core::units::Timestamp;
use anomaly_core::{Model, Reading, Rules};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((count, settings)) = words.split_first() else {
        return ExitCode::from(2);
    };
    let settings: Vec<&[u8]> = settings.iter().map(|word| word.as_bytes()).collect();
    let mut rules = Rules::default();
    let set = config::changes(&settings).and_then(|changes| rules.set(b"sensor:*", &changes));
    let (Ok(count), Ok(_)) = (count.parse::<i64>(), set) else {
        return ExitCode::from(2);
    };
    let (mut model, mut outcome) = (Model::default(), Outcome::default());
    let mut noise: u64 = 1;
    for at in 0..count {
        // Knuth's MMIX generator; the sum of two even ones is noise enough.
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let value = 20.0 + ((noise >> 40 & 0xfff) as f64 + (noise >> 52) as f64) / 4096.0;
        if let Some(at) = Timestamp::from_millis(at * 1000) {
            let reading = Reading { at, value };
            let key = b"sensor:1:temperature";
            model.take_in(key, reading, &mut rules, false, black_box(&mut outcome));
            black_box(&outcome);
        }
    }
    match model.readings() == count as u64 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
