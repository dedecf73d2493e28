//! What the scores come to: per file, per category, and in total, for people or for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::THRESHOLD;
use super::nab::{self, Outcome, PROFILES, Scored};
use crate::terminal::{harmless, layout, thousands};

/// A file's name and its scored rows.
pub(crate) type File = (String, Scored);

/// Files of one category.
fn categories(files: &[File]) -> BTreeMap<&str, Vec<&Scored>> {
    let mut categories: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
    for (name, scored) in files {
        let category = name.split('/').next().unwrap_or_default();
        categories.entry(category).or_default().push(scored);
    }
    categories
}

fn windows(files: &[File]) -> usize {
    files
        .iter()
        .map(|(_, file)| file.at(THRESHOLD).windows)
        .sum()
}

fn counts(outcome: Outcome) -> [String; 4] {
    [
        outcome.windows,
        outcome.caught,
        outcome.missed(),
        outcome.false_alarms,
    ]
    .map(|count| thousands(count as u64))
}

fn points(outcome: Outcome) -> impl Iterator<Item = String> {
    PROFILES.into_iter().map(move |profile| {
        let score = outcome.score(profile);
        score.map_or_else(|| String::from("-"), |score| format!("{score:.2}"))
    })
}

fn row(cells: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    cells.into_iter().map(Into::into).collect()
}

/// Tables.
pub(crate) fn text(files: &[File]) -> String {
    let [standard, ..] = PROFILES;
    let all = windows(files);
    let mut table = vec![row([
        "file", "windows", "caught", "missed", "false", "lost",
    ])];
    for (name, file) in files {
        let outcome = file.at(THRESHOLD);
        let mut cells = vec![harmless(name.as_bytes())];
        cells.extend(counts(outcome));
        cells.push(format!("{:.2}", outcome.lost(standard, all)));
        table.push(cells);
    }
    let mut text = layout(&table);
    let head = ["category", "windows", "caught", "missed", "false"];
    let profiles = PROFILES.map(|profile| profile.short);
    let mut table = vec![row(head.into_iter().chain(profiles))];
    let mut add = |name: &str, outcome: Outcome| {
        let cells = std::iter::once(harmless(name.as_bytes()));
        table.push(
            cells
                .chain(counts(outcome))
                .chain(points(outcome))
                .collect(),
        );
    };
    for (name, files) in categories(files) {
        add(name, nab::total(files, THRESHOLD));
    }
    add(
        "all",
        nab::total(files.iter().map(|(_, file)| file), THRESHOLD),
    );
    let _ = write!(text, "\n{}", layout(&table));
    let scored: Vec<Scored> = files.iter().map(|(_, file)| file.clone()).collect();
    let _ = writeln!(
        text,
        "\nA row is a detection from a score of {THRESHOLD} on; lost: points of the Standard score that the file costs."
    );
    let best = PROFILES.iter().zip(nab::best(&scored));
    let best = best.map(|(profile, best)| {
        format!("{} {:.2} at {}", profile.short, best.score, best.threshold)
    });
    let best: Vec<String> = best.collect();
    let _ = writeln!(
        text,
        "With the threshold that suits each best: {}",
        best.join(", ")
    );
    text
}

fn tally(outcome: Outcome) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, count) in [
        ("windows", outcome.windows),
        ("tp", outcome.caught),
        ("fn", outcome.missed()),
        ("fp", outcome.false_alarms),
    ] {
        map.insert(name.into(), json!(count));
    }
    map
}

fn scores(outcome: Outcome) -> Map<String, Value> {
    let score = |profile: nab::Profile| (profile.name.to_owned(), json!(outcome.score(profile)));
    PROFILES.into_iter().map(score).collect()
}

/// One JSON object, with the names that the benchmark uses.
pub(crate) fn json(files: &[File]) -> Map<String, Value> {
    let all = windows(files);
    let [standard, ..] = PROFILES;
    let scored: Vec<Scored> = files.iter().map(|(_, file)| file.clone()).collect();
    let with_scores = |outcome: Outcome| {
        let mut map = tally(outcome);
        map.insert("scores".into(), scores(outcome).into());
        Value::from(map)
    };
    let best = PROFILES
        .iter()
        .zip(nab::best(&scored))
        .map(|(profile, best)| {
            let mut map = tally(nab::total(&scored, best.threshold));
            map.insert("score".into(), json!(best.score));
            map.insert("threshold".into(), json!(best.threshold));
            (profile.name.to_owned(), Value::from(map))
        });
    let per_file = files.iter().map(|(name, file)| {
        let outcome = file.at(THRESHOLD);
        let mut map = tally(outcome);
        map.insert("lost_standard".into(), json!(outcome.lost(standard, all)));
        (name.clone(), Value::from(map))
    });
    let per_category = categories(files)
        .into_iter()
        .map(|(name, files)| (name.to_owned(), with_scores(nab::total(files, THRESHOLD))));
    let mut fixed = tally(nab::total(&scored, THRESHOLD));
    fixed.insert("threshold".into(), json!(THRESHOLD));
    fixed.insert(
        "scores".into(),
        scores(nab::total(&scored, THRESHOLD)).into(),
    );
    let parts = [
        ("files", json!(files.len())),
        ("windows", json!(all)),
        ("fixed", fixed.into()),
        ("optimised", best.collect::<Map<_, _>>().into()),
        ("per_category", per_category.collect::<Map<_, _>>().into()),
        ("per_file", per_file.collect::<Map<_, _>>().into()),
    ];
    parts
        .map(|(name, part)| (name.to_owned(), part))
        .into_iter()
        .collect()
}
