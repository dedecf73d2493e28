use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::alert::{Alert, End};
use crate::model::Outcome;
use crate::testing::{KEY, Sensor, at, cases, reading};

/// Warning above 28, critical above 35, normal at 20.
const LIMITS: &str = "max 28 critical-max 35";

/// A sensor on a line of one character a second: `.` normal, `w` warning, `c` critical, `m` inside the limit by less
/// than 1, `a` acknowledge, `-` a second without a reading. What it tells, second by second: `F` firing, `E` escalated,
/// `R` repeat, `A` ack, `X` resolved, `s` suppressed, `.` nothing.
struct Story {
    sensor: Sensor,
    now: i64,
    alerts: Vec<Alert>,
}

impl Story {
    fn new(settings: &str) -> Self {
        Self {
            sensor: Sensor::new(&format!("{LIMITS} {settings}")),
            now: 0,
            alerts: vec![],
        }
    }

    fn reads(&mut self, value: f64) -> Outcome {
        let outcome = self.sensor.add(self.now, value);
        let profile = self.sensor.profile();
        let alert = Alert::of_outcome(KEY, reading(self.now, value), &outcome, &profile, None);
        assert_eq!(alert.is_some(), outcome.transition.is_some());
        self.alerts.extend(alert);
        outcome
    }

    fn acknowledges(&mut self) -> bool {
        let profile = self.sensor.profile();
        let alert = Alert::of_ack(
            KEY,
            &mut self.sensor.model,
            &profile,
            at(self.now),
            b"eva",
            b"",
        );
        self.alerts.extend(alert.clone());
        alert.is_some()
    }

    fn ends(&mut self, end: End) -> bool {
        let profile = self.sensor.profile();
        let alert = Alert::of_end(KEY, &mut self.sensor.model, &profile, end);
        self.alerts.extend(alert.clone());
        alert.is_some()
    }

    fn tells(&mut self, line: &str) -> String {
        line.chars()
            .map(|c| {
                let before = self.alerts.len();
                let outcome = match c {
                    '.' => Some(self.reads(20.0)),
                    'm' => Some(self.reads(27.5)),
                    'w' => Some(self.reads(31.0)),
                    'c' => Some(self.reads(40.0)),
                    'a' => {
                        self.acknowledges();
                        None
                    }
                    _ => None,
                };
                self.now += 1000;
                match self.alerts.get(before).map(|alert| alert.event) {
                    Some(Event::Firing) => 'F',
                    Some(Event::Escalated) => 'E',
                    Some(Event::Repeat) => 'R',
                    Some(Event::Ack) => 'A',
                    Some(Event::Resolved) => 'X',
                    None if outcome.is_some_and(|o| o.suppressed) => 's',
                    None => '.',
                }
            })
            .collect()
    }

    fn fields(&self, name: &str) -> Vec<String> {
        self.alerts.iter().map(|alert| field(alert, name)).collect()
    }

    fn open(&self) -> Option<&Episode> {
        self.sensor.model.alarm.open()
    }
}

fn field(alert: &Alert, name: &str) -> String {
    let (_, value) = alert.fields.iter().find(|(n, _)| *n == name).unwrap();
    String::from_utf8(value.clone()).unwrap()
}

fn told(settings: &str, line: &str) -> String {
    Story::new(settings).tells(line)
}

#[test]
fn it_fires_on_the_first_abnormal_reading_and_resolves_on_the_third_normal_one() {
    assert_eq!(told("", ".w....w"), ".F..X.F");
    assert_eq!(told("", "c...w"), "F..XF");
    assert_eq!(told("", "www..w...."), "F.......X.");
}

#[test]
fn for_readings_in_a_row_must_be_abnormal_before_it_fires() {
    assert_eq!(told("for 3", "ww.ww.wwww"), "........F.");
    let mut story = Story::new("for 3");
    story.tells(".-wcw");
    assert_eq!(story.fields("start"), ["2000"]);
    assert_eq!(story.fields("ts"), ["4000"]);
    assert_eq!(story.fields("severity"), ["warning"]);
    let open = story.open().unwrap();
    assert_eq!((open.readings, open.alerts), (3, 1));
    assert!(open.peak > 0.55, "the peak of the run: {}", open.peak);
}

#[test]
fn clear_readings_in_a_row_must_be_normal_before_it_resolves() {
    assert_eq!(told("clear 1", "w.w."), "FXFX");
    assert_eq!(told("clear 4", "w...w...."), "F.......X");
}

#[test]
fn it_escalates_once_and_does_not_fall_back() {
    assert_eq!(told("", "wwcwc..c..."), "F.E.......X");
    assert_eq!(told("", "cwc...w"), "F....XF");
    let mut story = Story::new("");
    story.tells("wcw...");
    assert_eq!(
        story.fields("severity"),
        ["warning", "critical", "critical"]
    );
    assert_eq!(story.fields("threshold"), ["28", "35", "35"]);
}

#[test]
fn reminders_come_by_reading_time_and_only_with_abnormal_readings() {
    assert_eq!(told("repeat 3000", "wwwwwwww"), "F..R..R.");
    // No reading, no reminder; a normal one reminds of nothing; then the time counts from the last alert.
    assert_eq!(told("repeat 3000", "w----w.www"), "F....R..R.");
    assert_eq!(told("repeat 3000", "wwcwww"), "F.E..R");
    assert_eq!(told("repeat 0", "wwwwwwww"), "F.......");
}

#[test]
fn an_acknowledged_episode_is_not_repeated_but_still_escalates_and_resolves() {
    assert_eq!(told("repeat 2000", "wwwawwwwc..."), "F.RA....E..X");
    // The next episode is nobody's yet.
    assert_eq!(told("repeat 2000", "wa...www"), "FA..XF.R");
}

#[test]
fn acknowledging_twice_or_nothing_writes_nothing() {
    let mut story = Story::new("for 2");
    assert!(!story.acknowledges(), "a sensor that was never read");
    story.tells("w");
    assert!(!story.acknowledges(), "abnormal, but not fired yet");
    story.tells("w");
    assert!(story.acknowledges());
    assert_eq!(story.open().unwrap().acked_by.as_deref(), Some(&b"eva"[..]));
    assert!(!story.acknowledges());
    story.tells("...");
    assert!(!story.acknowledges(), "it is resolved");
    assert_eq!(story.fields("event"), ["firing", "ack", "resolved"]);
}

#[test]
fn in_the_cooldown_the_same_episode_is_reopened_silently() {
    let mut story = Story::new("cooldown 10000 clear 2");
    assert_eq!(story.tells("w..ww"), "F.Xs.");
    let open = story.open().unwrap();
    assert_eq!(open.phase, Phase::Silent(at(12_000)));
    assert_eq!(
        (open.name(), open.readings),
        (story.fields("episode")[0].clone(), 5)
    );
    // Normal again while silent: nothing was told, so nothing is taken back; the cooldown does not begin anew.
    assert_eq!(story.tells("..w.."), "..s..");
    assert_eq!(
        story.sensor.model.alarm.episode.as_ref().unwrap().phase,
        Phase::Cooling(at(12_000))
    );
    // After it, a new episode.
    assert_eq!(story.tells("--w"), "..F");
    let names = story.fields("episode");
    assert!(names[0] == names[1] && names[1] != names[2], "{names:?}");
}

#[test]
fn still_abnormal_when_the_cooldown_is_over_it_fires_again() {
    let mut story = Story::new("cooldown 4000 clear 1");
    assert_eq!(story.tells("w.wwwww"), "FXs..F.");
    let names = story.fields("episode");
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(told("cooldown 4000 clear 1", "w.wwwww."), "FXs..F.X");
    // `for` holds in the cooldown too.
    assert_eq!(told("cooldown 8000 clear 1 for 2", "ww.w.ww"), ".FX...s");
}

#[test]
fn escalation_breaks_the_silence() {
    assert_eq!(told("cooldown 9000 clear 1", "w.wwcw."), "FXs.E.X");
    assert_eq!(told("cooldown 9000 clear 1", "w.c."), "FXEX");
    // It was critical before: nothing new.
    assert_eq!(told("cooldown 9000 clear 1", "c.c.c."), "FXs.s.");
}

#[test]
fn without_a_reading_in_the_cooldown_the_next_episode_is_a_new_one() {
    let mut story = Story::new("cooldown 3000 clear 1");
    assert_eq!(story.tells("w.--w"), "FX..F");
    let names = story.fields("episode");
    assert_ne!(names[0], names[2]);
    assert_eq!(told("cooldown 3000 clear 1", "w.-w"), "FX.s");
}

#[test]
fn a_reading_inside_the_limit_by_less_than_the_margin_keeps_the_episode_open() {
    let mut story = Story::new("clear-margin 1 clear 2");
    assert_eq!(story.reads(27.5).verdict.word(), "normal");
    story.now += 1000;
    assert_eq!(story.tells("w"), "F");
    let held = story.reads(27.5);
    assert_eq!(
        (held.verdict.word(), held.transition),
        ("warning", None),
        "not a new alert"
    );
    assert!(held.finding.unwrap().score() > 0.5);
    story.now += 1000;
    assert_eq!(story.tells(".m.."), "...X");
    assert_eq!(story.reads(27.5).verdict.word(), "normal");
    assert_eq!(
        story.fields("event"),
        ["firing", "resolved"],
        "one alert a transition"
    );
}

#[test]
fn the_margin_ends_exactly_there_and_holds_only_at_the_limit_that_was_crossed() {
    let mut sensor = Sensor::new("min 10 max 28 clear-margin 1 clear 1");
    sensor.add(0, 31.0);
    assert_eq!(sensor.ask(1000, 27.000_001).verdict.word(), "warning");
    assert_eq!(
        sensor.ask(1000, 27.0).transition.unwrap().0,
        Event::Resolved
    );
    assert_eq!(
        sensor.ask(1000, 10.5).transition.unwrap().0,
        Event::Resolved
    );
    // Across to the other side: now both margins hold.
    sensor.add(1000, 5.0);
    for (value, verdict) in [
        (10.5, "warning"),
        (27.5, "warning"),
        (11.0, "normal"),
        (20.0, "normal"),
    ] {
        assert_eq!(sensor.ask(2000, value).verdict.word(), verdict, "{value}");
    }
}

#[test]
fn ids_tell_episodes_and_transitions_apart_and_are_the_same_on_every_server() {
    let line = "ww...c..w..wwca...www";
    let [one, two] = [(); 2].map(|()| {
        let mut story = Story::new("repeat 1000 cooldown 2000");
        story.tells(line);
        story.alerts
    });
    assert_eq!(one, two);
    let ids: Vec<_> = one.iter().map(|alert| field(alert, "id")).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert!(ids.len() > 6, "{ids:?}");
    for alert in &one {
        assert!(field(alert, "id").starts_with(&(field(alert, "episode") + "-")));
    }
    let mut other = Sensor::new(LIMITS);
    let told = other
        .model
        .ingest(b"sensor:2", reading(0, 31.0), &mut other.rules);
    assert_ne!(
        told.transition.unwrap().1.name(),
        field(&one[0], "episode"),
        "of another sensor"
    );
}

#[test]
fn two_episodes_that_start_at_one_instant_have_two_names() {
    let mut story = Story::new("clear 1");
    for value in [31.0, 20.0, 32.0, 21.0] {
        story.reads(value);
    }
    assert_eq!(
        story.fields("event"),
        ["firing", "resolved", "firing", "resolved"]
    );
    let names = story.fields("episode");
    assert!(names[0] == names[1] && names[2] == names[3] && names[0] != names[2]);
    assert_eq!(story.fields("start"), ["0"; 4]);
}

#[test]
fn an_episode_ends_when_nothing_watches_any_more() {
    for off in [
        "enabled no",
        "max - critical-max - auto off",
        "direction low",
    ] {
        let mut story = Story::new("cooldown 60000");
        story.tells("w");
        story.sensor.set(off);
        assert_eq!(story.tells("ww"), "X.", "{off}");
        assert!(story.sensor.model.alarm.episode.is_none(), "no cooldown");
        assert!(
            story.fields("reason")[1].contains("no detector is on"),
            "{:?}",
            story.fields("reason")
        );
    }
}

#[test]
fn an_episode_that_fired_by_one_detector_stays_open_while_another_goes_on() {
    let mut story = Story::new("");
    story.tells("w");
    story.sensor.set("max - critical-max - rate 100");
    assert_eq!(story.tells("wwww"), "..X.");
}

#[test]
fn deleting_expiring_and_resetting_resolve_what_was_told_and_nothing_else() {
    for (end, says) in [
        (End::Deleted, "deleted"),
        (End::Expired, "expired"),
        (End::Evicted, "evicted"),
        (End::Reset, "reset"),
    ] {
        let mut story = Story::new("cooldown 60000");
        assert!(!story.ends(end));
        story.tells("w");
        assert!(story.ends(end) && !story.ends(end));
        assert_eq!(story.fields("event"), ["firing", "resolved"]);
        assert!(story.fields("reason")[1].contains(says));
    }
    let mut silent = Story::new("clear 1 cooldown 60000");
    assert_eq!(silent.tells("w.w"), "FXs");
    assert!(!silent.ends(End::Deleted), "resolved was written before");
}

#[test]
fn a_clock_set_back_silences_nothing() {
    // 31 late readings, each newer than the one before.
    let set_back = |story: &mut Story, value: f64| {
        let events: String = (0..31)
            .map(|i| {
                story.now = 1000 + i;
                match story.reads(value) {
                    Outcome {
                        transition: Some((event, _)),
                        ..
                    } => event.word(),
                    o => o.verdict.word(),
                }
            })
            .skip(30)
            .collect();
        story.now = 2000;
        events
    };
    // Firing with reminders: they go on by the new time.
    let mut story = Story::new("repeat 3000");
    story.now = 1_000_000;
    story.tells("w");
    assert_eq!(set_back(&mut story, 31.0), "warning");
    assert_eq!(story.tells("wwwwwww"), "...R..R");
    let reasons = story.fields("reason");
    assert!(!reasons.last().unwrap().contains('-'), "{reasons:?}");
    // Cooling: a new episode, not silence until the old time comes again.
    let mut story = Story::new("clear 1 cooldown 5000");
    story.now = 1_000_000;
    assert_eq!(story.tells("w."), "FX");
    assert_eq!(set_back(&mut story, 31.0), "firing");
    // Silent: it fires.
    let mut story = Story::new("clear 1 cooldown 5000");
    story.now = 1_000_000;
    assert_eq!(story.tells("w.w"), "FXs");
    assert_eq!(set_back(&mut story, 31.0), "firing");
    // A run of abnormal readings begins anew.
    let mut story = Story::new("for 2");
    story.now = 1_000_000;
    assert_eq!(story.tells("w"), ".");
    assert_eq!(set_back(&mut story, 31.0), "warning");
    assert_eq!(story.tells("w"), "F");
    assert_eq!(story.fields("start"), ["1030"]);
}

/// What a consumer may rely on.
#[derive(Debug)]
enum Known {
    Nothing,
    Open {
        name: String,
        critical: bool,
        acked: bool,
    },
    Resolved {
        name: String,
    },
}

fn check(known: Known, alert: &Alert, cooldown: bool) -> Result<Known, String> {
    let name = field(alert, "episode");
    let critical = field(alert, "severity") == "critical";
    let wrong = |known: &Known| Err(format!("{} after {known:?}", alert.event.word()));
    match (alert.event, known) {
        (Event::Firing, Known::Nothing) => Ok(Known::Open {
            name,
            critical,
            acked: false,
        }),
        // The same episode fires again only after a cooldown.
        (Event::Firing | Event::Escalated, Known::Resolved { name: last })
            if (last == name && cooldown) || (last != name && alert.event == Event::Firing) =>
        {
            Ok(Known::Open {
                name,
                critical,
                acked: false,
            })
        }
        (
            Event::Escalated,
            Known::Open {
                name: open,
                critical: false,
                acked,
            },
        ) if open == name && critical => Ok(Known::Open {
            name,
            critical,
            acked,
        }),
        (
            Event::Repeat,
            Known::Open {
                name: open,
                critical: was,
                acked: false,
            },
        ) if open == name && was == critical => Ok(Known::Open {
            name,
            critical,
            acked: false,
        }),
        (
            Event::Ack,
            Known::Open {
                name: open,
                critical: was,
                acked: false,
            },
        ) if open == name && was == critical => Ok(Known::Open {
            name,
            critical,
            acked: true,
        }),
        // Reopened silently it can be seen in ANOMALY.ALERTS, and acknowledged.
        (Event::Ack, Known::Resolved { name: last }) if cooldown && last == name => {
            Ok(Known::Resolved { name })
        }
        (
            Event::Resolved,
            Known::Open {
                name: open,
                critical: was,
                ..
            },
        ) if open == name && was == critical => Ok(Known::Resolved { name }),
        (_, known) => wrong(&known),
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn the_alerts_of_a_sensor_are_a_well_formed_story(
        (run, clear) in (1..4u8, 1..4u8),
        cooldown in prop::sample::select(vec![0, 3000, 20_000]),
        repeat in prop::sample::select(vec![0, 2000]),
        line in "([.mwc]{1,5}|a|-{1,9}|[.w]{1,3}<|[.w]?[xy]){1,60}",
    ) {
        let mut story = Story::new(&format!("for {run} clear {clear} cooldown {cooldown} repeat {repeat} clear-margin 1"));
        story.now = 1_000_000;
        let mut reopened = 0;
        for c in line.chars() {
            match c {
                // The clock is set back.
                '<' => {
                    let from = story.now / 2;
                    for i in 0..31 {
                        story.now = from + i;
                        story.reads(if run == 2 { 31.0 } else { 20.0 });
                    }
                    story.now += 1000;
                }
                // The rule is switched off and on.
                'x' => story.sensor.set("enabled no"),
                'y' => story.sensor.set("enabled yes"),
                c => reopened += usize::from(story.tells(&c.to_string()) == "s"),
            }
        }
        prop_assert!(cooldown > 0 || reopened == 0);
        let ids = story.fields("id");
        prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{:?}", ids);
        let mut known = Known::Nothing;
        for alert in &story.alerts {
            known = match check(known, alert, cooldown > 0) {
                Ok(known) => known,
                Err(wrong) => return Err(TestCaseError::fail(format!("{wrong}: {:?}", story.fields("event")))),
            };
        }
        prop_assert_eq!(
            matches!(known, Known::Open { .. }),
            story.open().is_some_and(|open| open.phase == Phase::Firing)
        );
    }
}

#[test]
fn an_episode_of_auto_that_goes_on_is_reminded_of() {
    let mut sensor = Sensor::new("auto on repeat 600000");
    let mut told = vec![];
    for i in 0..1060_i64 {
        let noise = ((i * 7919) % 101) as f64 / 100.0;
        let shift = if i >= 1000 { 10.0 } else { 0.0 };
        let outcome = sensor.add(i * 60_000, 20.0 + noise + shift);
        told.extend(outcome.transition.map(|(event, _)| (i, event)));
    }
    told.retain(|(i, _)| *i >= 1000);
    assert_eq!(
        told,
        [
            (1000, Event::Firing),
            (1010, Event::Repeat),
            (1020, Event::Repeat),
            (1030, Event::Repeat),
            (1040, Event::Repeat),
            (1050, Event::Repeat)
        ]
    );
}

#[test]
fn an_event_of_auto_that_outlasts_the_cooldown_is_told_of() {
    let mut sensor = Sensor::new("auto on cooldown 10800000");
    let mut noise = crate::testing::Noise(7);
    let mut told = vec![];
    for i in 0..2400_i64 {
        let event = match i {
            2000 => 6.0,
            2100.. => 20.0,
            _ => 0.0,
        };
        let outcome = sensor.add(i * 60_000, 20.0 + noise.next() + event);
        told.extend(outcome.transition.map(|(event, _)| (i, event)));
    }
    let firing = |range: std::ops::Range<i64>| {
        let fired = |(i, event): &(i64, Event)| range.contains(i) && *event == Event::Firing;
        told.iter().any(fired)
    };
    assert!(firing(2000..2001), "{told:?}");
    let resolved = told.iter().rfind(|(_, event)| *event == Event::Resolved);
    assert!(resolved.is_some_and(|(i, _)| *i > 2000), "{told:?}");
    assert!(!firing(2001..2150) && firing(2150..2300), "{told:?}");
}
