//! The numbers at the end of the demonstration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::Args;
use super::judge::Judgement;
use super::scene::Scene;
use super::watcher::Heard;
use crate::inject::{Injection, Kind};
use crate::terminal::{per_second, thousands};

/// Everything that the summary is made of.
pub(crate) struct Summary<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) judgement: &'a Judgement,
    pub(crate) heard: &'a [Heard],
    /// What the module made of the readings.
    pub(crate) verdicts: String,
    /// In the series, with TimeSeries.
    pub(crate) samples: Option<u64>,
}

impl Summary<'_> {
    pub(crate) fn text(&self, args: &Args) -> String {
        let mut text = String::from("\n");
        for (name, value) in self.rows() {
            let _ = writeln!(text, "{name:<20}{value}");
        }
        for missed in &self.judgement.missed {
            let _ = writeln!(text, "  missed: {missed}");
        }
        for alert in &self.judgement.false_alerts {
            let _ = writeln!(text, "  false:  {}", alert.line(false));
        }
        for refusal in self.scene.tally.refusals() {
            let _ = writeln!(text, "  refused: {refusal}");
        }
        text + &next_steps(args)
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let Self {
            scene, judgement, ..
        } = self;
        let readings = scene.tally.taken();
        let mut rows = vec![
            (
                "readings",
                format!(
                    "{} in {:.1} s ({}/s), {:.1} days of {} racks",
                    thousands(readings),
                    scene.elapsed.as_secs_f64(),
                    thousands(per_second(readings, scene.elapsed)),
                    scene.days(),
                    scene.racks()
                ),
            ),
            ("verdicts", self.verdicts.clone()),
            ("anomalies injected", with_kinds(&scene.injections)),
            ("  caught", with_kinds(&judgement.caught)),
            ("  missed", with_kinds(&judgement.missed)),
            ("false alerts", judgement.false_alerts.len().to_string()),
            ("alerts", self.events()),
            ("latency", self.latency()),
            ("series", self.series(readings)),
        ];
        if scene.tally.refused() > 0 {
            rows.push(("refused", thousands(scene.tally.refused())));
        }
        rows
    }

    fn events(&self) -> String {
        let mut events: BTreeMap<String, u64> = BTreeMap::new();
        for heard in self.heard {
            *events.entry(heard.alert.text("event")).or_default() += 1;
        }
        let parts: Vec<String> = events
            .iter()
            .map(|(event, count)| format!("{event} {count}"))
            .collect();
        if parts.is_empty() {
            String::from("none")
        } else {
            parts.join(", ")
        }
    }

    /// From just before a reading was sent until its alert was read on another connection.
    fn latency(&self) -> String {
        let since_sent = |heard: &Heard| {
            Some(
                heard
                    .at
                    .saturating_duration_since(self.scene.sent_at(heard.alert.number("ts")?)?),
            )
        };
        let mut latencies: Vec<Duration> = self.heard.iter().filter_map(since_sent).collect();
        latencies.sort_unstable();
        match (percentile(&latencies, 50), percentile(&latencies, 99)) {
            (Some(p50), Some(p99)) => format!(
                "p50 {:.2} ms, p99 {:.2} ms from sending a reading to reading its alert",
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            ),
            _ => String::from("unknown: there was no alert"),
        }
    }

    fn series(&self, readings: u64) -> String {
        match self.samples {
            None => String::from("off (no TimeSeries module)"),
            Some(samples) if samples == readings => {
                format!(
                    "{} samples in {} series: every reading",
                    thousands(samples),
                    self.scene.racks()
                )
            }
            Some(samples) => format!(
                "{} samples, but {} readings: they differ",
                thousands(samples),
                thousands(readings)
            ),
        }
    }
}

/// `5: spike 3, drop 2`
fn with_kinds(injections: &[Injection]) -> String {
    let mut kinds: BTreeMap<Kind, u64> = BTreeMap::new();
    for injection in injections {
        *kinds.entry(injection.kind).or_default() += 1;
    }
    let parts: Vec<String> = kinds
        .iter()
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    if parts.is_empty() {
        String::from("0")
    } else {
        format!("{}: {}", injections.len(), parts.join(", "))
    }
}

/// The smallest value that at least `percent` of all do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn next_steps(args: &Args) -> String {
    let mut start = shell_word(&args.server.to_string_lossy());
    for module in args.timeseries.iter().chain([&args.module]) {
        let _ = write!(
            start,
            " --loadmodule {}",
            shell_word(&module.to_string_lossy())
        );
    }
    let anomaly = std::env::args()
        .next()
        .unwrap_or_else(|| String::from("anomaly"));
    let anomaly = shell_word(&anomaly);
    let cli = redis_cli(&args.server);
    format!(
        "\nThe private server is gone. To go on with one of your own:\n  \
         {start}\n  \
         {cli} ANOMALY.ADD rack:01:temperature '*' 21.5 EXPLAIN\n  \
         {anomaly} replay recording.csv && {anomaly} alerts\n"
    )
}

/// The client that came with the server, if it did.
fn redis_cli(server: &Path) -> String {
    let beside = server.with_file_name("redis-cli");
    if beside.is_file() {
        shell_word(&beside.to_string_lossy())
    } else {
        String::from("redis-cli")
    }
}

/// As a shell reads it back, should there be a space in the path.
fn shell_word(text: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+:@%".contains(character);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{percentile, shell_word};
    use std::time::Duration;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn paths_with_spaces_survive_the_shell() {
        assert_eq!(shell_word("/usr/bin/redis-server"), "/usr/bin/redis-server");
        assert_eq!(shell_word("/a b/it's"), "'/a b/it'\\''s'");
    }
}
