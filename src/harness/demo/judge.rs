//! What was caught, what was missed, and what was an alert about nothing.

use super::watcher::Heard;
use crate::alert::Alert;
use crate::inject::Injection;

/// The injections and the firing alerts, matched by sensor and reading time alone.
pub(crate) struct Judgement {
    pub(crate) caught: Vec<Injection>,
    pub(crate) missed: Vec<Injection>,
    /// Firing alerts at a reading of which nothing was wrong.
    pub(crate) false_alerts: Vec<Alert>,
}

impl Judgement {
    pub(crate) fn of(injections: &[Injection], heard: &[Heard]) -> Self {
        let firing = heard
            .iter()
            .map(|heard| &heard.alert)
            .filter(|alert| alert.bytes("event") == b"firing");
        Self::match_up(injections, firing.cloned().collect())
    }

    /// An anomaly is caught if an episode began with one of its readings. An alert shortly after it is late and counts as
    /// false: there is no grace in either direction.
    fn match_up(injections: &[Injection], firing: Vec<Alert>) -> Self {
        let hits = |alert: &Alert, injection: &Injection| {
            alert.bytes("sensor") == injection.sensor.as_bytes()
                && alert
                    .number("ts")
                    .is_some_and(|ts: i64| (injection.start..=injection.end).contains(&ts))
        };
        let (caught, missed) = injections
            .iter()
            .cloned()
            .partition(|injection| firing.iter().any(|alert| hits(alert, injection)));
        let about_nothing =
            |alert: &Alert| !injections.iter().any(|injection| hits(alert, injection));
        Self {
            caught,
            missed,
            false_alerts: firing.into_iter().filter(about_nothing).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement;
    use crate::alert::tests::alert;
    use crate::inject::{Injection, Kind};

    fn injection(start: i64, end: i64) -> Injection {
        Injection {
            sensor: "rack:01:temperature".to_owned(),
            kind: Kind::Shift,
            start,
            end,
            readings: 2,
            size: 1.0,
        }
    }

    #[test]
    fn only_an_alert_within_the_anomaly_catches_it() {
        let injections = [
            injection(100, 200),
            injection(300, 400),
            injection(500, 600),
        ];
        let firing = vec![
            alert("1-0", &[("ts", b"100")]),
            alert("2-0", &[("ts", b"150")]),
            alert("3-0", &[("ts", b"299")]),
            alert("4-0", &[("ts", b"600")]),
            alert("5-0", &[("ts", b"350"), ("sensor", b"rack:02:temperature")]),
        ];
        let judgement = Judgement::match_up(&injections, firing);
        let starts =
            |injections: &[Injection]| injections.iter().map(|i| i.start).collect::<Vec<_>>();
        assert_eq!(starts(&judgement.caught), [100, 500]);
        assert_eq!(starts(&judgement.missed), [300]);
        let false_entries: Vec<&str> = judgement
            .false_alerts
            .iter()
            .map(|alert| alert.entry.as_str())
            .collect();
        assert_eq!(false_entries, ["3-0", "5-0"]);
    }
}
