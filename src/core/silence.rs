//! Sensors that send nothing: when the server is to look at one, and what it then means.
//!
//! Arrivals and the time until they are missed go by the clock of the server that takes the readings in. Alerts and episodes
//! go by reading times: the instant of a silence is the newest reading's time and as much later as it is since it arrived.
//! The server that decides says that instant and the length of the silence; every other one takes its word.

use std::collections::VecDeque;

use crate::detect::nodata;
use crate::episode::{Phase, Step};
use crate::key::fingerprint;
use crate::kind::Kind;
use crate::model::{Model, Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::rule::Rules;
use crate::units::Timestamp;

/// A silence that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its instant, as a reading time.
    pub at: Timestamp,
    /// How long it has lasted, in ms.
    pub ms: i64,
}

/// Stretches in which the server ran and yet took no readings in: it was stopped, or busy with something else. The last few.
#[derive(Clone, Debug, Default)]
pub struct Stalls(VecDeque<(Timestamp, u64)>);

impl Stalls {
    /// How many are kept.
    const MOST: usize = 64;

    /// Notes one of so many ms.
    pub fn add(&mut self, end: Timestamp, ms: u64) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((end, ms));
    }

    /// What a silence that began at an instant is to be counted from: as much later as has been lost since.
    #[must_use]
    pub fn after(&self, since: Timestamp) -> Timestamp {
        let later = self.0.iter().rev().take_while(|(end, _)| *end > since);
        since.plus(later.map(|(_, ms)| ms).sum())
    }
}

/// What the time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// The silence is to be judged.
    Judge(Silence),
    /// The sensor is to be forgotten.
    Forget,
}

impl Model {
    /// What is due at `now` for a sensor that nothing was to be heard of before `since` (the server was down, or nobody
    /// listened).
    #[must_use]
    pub fn due(&self, profile: &Profile, since: Timestamp, now: Timestamp) -> Due {
        let base = self.arrived.max(since);
        if profile
            .expire
            .is_some_and(|expire| base.plus(expire) <= now)
        {
            return Due::Forget;
        }
        let ms = now.since(base);
        let Some(newest) = self.newest().filter(|_| profile.has(Kind::Nodata)) else {
            return Due::Nothing;
        };
        let at = newest.at.plus(self.since_arrival(now, ms));
        match nodata::judge(Some(ms), profile).severity {
            Some(severity) if self.alarm.heeds(at, severity, profile) => {
                Due::Judge(Silence { at, ms })
            }
            _ => Due::Nothing,
        }
    }

    /// When to look at it again, after `now`; `None`: not before another reading. A reading never makes it earlier.
    #[must_use]
    pub fn next_look(
        &self,
        profile: &Profile,
        since: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.due(profile, since, now) != Due::Nothing {
            return Some(now.plus(1));
        }
        let base = self.arrived.max(since);
        let forgets = profile.expire.map(|expire| base.plus(expire));
        let mut judges = None;
        if let (Some(newest), Some(limit), true) =
            (self.newest(), profile.nodata, profile.has(Kind::Nodata))
        {
            // A reading that comes right after this look is missed when as much time has passed again. Where nothing more
            // can be told, only a reading can change that: it begins to be timed anew.
            let again = now.plus(limit).plus(1);
            let critical = base.plus((limit as f64 * profile.critical).ceil() as u64);
            let told_again = match self.alarm.open() {
                None => None,
                Some(episode) => match episode.phase {
                    Phase::Firing if profile.repeat > 0 => {
                        Some(episode.last_alert.plus(profile.repeat))
                    }
                    Phase::Silent(until) => Some(until),
                    Phase::Firing | Phase::Cooling(_) => None,
                },
            };
            let known = self.arrived != Timestamp::ZERO;
            let arrived = if known { self.arrived } else { base };
            let by_clock = |at: Timestamp| arrived.plus(at.since(newest.at).max(0).unsigned_abs());
            let next = [
                Some(base.plus(limit).plus(1)),
                Some(critical),
                told_again.map(by_clock),
            ];
            let next = next.into_iter().flatten().filter(|at| *at > now).min();
            judges = next.map(|next| next.min(again));
        }
        let next = [forgets, judges].into_iter().flatten().min()?;
        Some(next.max(now.plus(1)))
    }

    /// Time since the newest reading arrived; where that is not known, the silence as it is counted.
    fn since_arrival(&self, now: Timestamp, ms: i64) -> u64 {
        if self.arrived == Timestamp::ZERO {
            ms.max(0).unsigned_abs()
        } else {
            now.since(self.arrived).max(0).unsigned_abs()
        }
    }

    /// Takes in that the sensor at `key` sends nothing. The last reading stands for the one that is missing, at the instant
    /// of the silence; `None` where none was ever taken in, or the rules do not ask.
    ///
    /// It goes through the same alarm as a reading, as an abnormal one without `for`. The same decision under the same rules
    /// leaves the same bits on every server.
    pub fn silent(
        &mut self,
        key: &[u8],
        silence: Silence,
        rules: &mut Rules,
    ) -> Option<(Reading, Outcome)> {
        let profile = self.follow(key, rules);
        let newest = self.newest().filter(|_| profile.has(Kind::Nodata))?;
        let finding = nodata::judge(Some(silence.ms), &profile);
        let Step {
            transition,
            suppressed,
        } = self
            .alarm
            .silent(silence.at, newest.at, &finding, &profile, || {
                fingerprint(key)
            });
        let reading = Reading {
            at: silence.at,
            value: newest.value,
        };
        let outcome = Outcome {
            verdict: Verdict::of(finding.severity),
            score: finding.score(),
            finding: Some(finding),
            newest: Some(newest),
            transition,
            suppressed,
            ..Outcome::default()
        };
        Some((reading, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::codec;
    use crate::episode::Event;
    use crate::reason;
    use crate::testing::{KEY, Sensor, at};
    use crate::units::Severity;

    /// The clock of the server is this far ahead of the sensor's.
    const AHEAD: i64 = 1_000_000;
    const ON: &str = "nodata 60000 auto off";

    /// A sensor and the clock of the server that takes its readings in.
    struct Server {
        sensor: Sensor,
        since: Timestamp,
        timer: Option<Timestamp>,
        told: Vec<(i64, Event, Severity, String)>,
    }

    impl Server {
        fn new(settings: &str) -> Self {
            Self {
                sensor: Sensor::new(settings),
                since: Timestamp::ZERO,
                timer: None,
                told: vec![],
            }
        }

        /// A reading by the sensor's clock.
        fn reads(&mut self, ms: i64, value: f64) -> Outcome {
            let outcome = self.sensor.add(ms, value);
            let reading = crate::testing::reading(ms, value);
            self.tells(reading, &outcome);
            let profile = self.sensor.profile();
            if profile.listens() {
                self.sensor.model.arrived = at(ms + AHEAD);
                if self.timer.is_none() {
                    self.timer = self
                        .sensor
                        .model
                        .next_look(&profile, self.since, at(ms + AHEAD));
                }
            }
            outcome
        }

        fn tells(&mut self, reading: Reading, outcome: &Outcome) {
            let profile = self.sensor.profile();
            if let Some((event, episode)) = &outcome.transition {
                let why = reason::of_outcome(reading, outcome, &profile);
                assert!(Alert::of_outcome(KEY, reading, outcome, &profile, None).is_some());
                self.told
                    .push((reading.at.millis(), *event, episode.severity, why));
            }
        }

        /// The timer runs until then, by the server's clock; how often it looked.
        fn runs_until(&mut self, until: i64) -> u32 {
            let mut looks = 0;
            while let Some(now) = self.timer.filter(|next| *next <= at(until + AHEAD)) {
                looks += 1;
                let profile = self.sensor.profile();
                if let Due::Judge(silence) = self.sensor.model.due(&profile, self.since, now) {
                    let (reading, outcome) = self
                        .sensor
                        .model
                        .silent(KEY, silence, &mut self.sensor.rules)
                        .unwrap();
                    self.tells(reading, &outcome);
                }
                self.timer = self.sensor.model.next_look(&profile, self.since, now);
                assert!(
                    self.timer.is_none_or(|next| next > now),
                    "it comes to an end"
                );
            }
            looks
        }

        fn events(&self) -> Vec<(i64, Event)> {
            self.told
                .iter()
                .map(|(ms, event, ..)| (*ms, *event))
                .collect()
        }
    }

    #[test]
    fn it_fires_beyond_nodata_and_is_critical_at_the_factor() {
        let mut server = Server::new("nodata 60000 auto off unit °C");
        server.reads(0, 20.0);
        server.reads(10_000, 21.4);
        server.runs_until(70_000);
        assert_eq!(server.told, [], "a silence of exactly nodata is allowed");
        server.runs_until(10_000_000);
        assert_eq!(
            server.told,
            [
                (
                    70_001,
                    Event::Firing,
                    Severity::Warning,
                    "no reading for 1 min, longer than the allowed 1 min; the last was 21.4 °C".into()
                ),
                (
                    100_000,
                    Event::Escalated,
                    Severity::Critical,
                    "no reading for 1 min 30 s, longer than the allowed 1 min; the last was 21.4 °C".into()
                ),
            ]
        );
        let episode = server.sensor.model.alarm.open().unwrap();
        assert_eq!((episode.start, episode.kind), (at(10_000), Kind::Nodata));
        assert_eq!(server.sensor.model.readings(), 2, "a silence is no reading");
    }

    #[test]
    fn readings_put_it_off_and_cost_one_look_in_a_nodata() {
        let mut server = Server::new(ON);
        let mut looks = 0;
        for second in 0..3600 {
            server.reads(second * 1000, 20.0);
            looks += server.runs_until(second * 1000);
        }
        assert_eq!(server.told, []);
        assert!((55..62).contains(&looks), "{looks} looks in an hour");
    }

    #[test]
    fn it_is_resolved_by_normal_readings_as_any_other_kind_is() {
        for (settings, normal) in [
            (ON, 3),
            ("nodata 60000 auto off clear 1", 1),
            ("nodata 60000 max 28", 3),
            ("nodata 60000", 3),
        ] {
            let mut server = Server::new(settings);
            server.reads(0, 20.0);
            server.runs_until(80_000);
            for reading in 0..normal {
                assert_eq!(
                    server.events(),
                    [(60_001, Event::Firing)],
                    "{settings} {reading}"
                );
                server.reads(100_000 + reading * 1000, 20.0);
            }
            let (ms, event, _, why) = server.told.last().unwrap();
            assert_eq!(
                (*ms, *event),
                (99_000 + normal * 1000, Event::Resolved),
                "{settings}"
            );
            assert!(
                why.starts_with("20 has arrived: there is data again; "),
                "{why}"
            );
        }
    }

    #[test]
    fn for_does_not_concern_it_and_clear_keeps_a_sensor_that_comes_and_goes_in_one_episode() {
        let mut server = Server::new("nodata 60000 auto off for 5");
        for late in 0..10 {
            server.reads(late * 80_000, 20.0);
            server.runs_until(late * 80_000 + 79_999);
        }
        assert_eq!(server.events(), [(60_001, Event::Firing)]);
    }

    #[test]
    fn during_another_episode_it_tells_only_what_is_worse() {
        let mut server = Server::new("nodata 60000 max 28 critical-max 35");
        server.reads(0, 30.0);
        server.runs_until(10_000_000);
        assert_eq!(
            server.events(),
            [(0, Event::Firing), (90_000, Event::Escalated)]
        );
        let episode = server.sensor.model.alarm.open().unwrap();
        assert_eq!((episode.kind, episode.start), (Kind::Nodata, at(0)));

        let mut server = Server::new("nodata 60000 max 28 critical-max 35");
        server.reads(0, 40.0);
        server.runs_until(10_000_000);
        assert_eq!(server.events(), [(0, Event::Firing)]);
        assert_eq!(server.sensor.model.alarm.open().unwrap().kind, Kind::Range);
    }

    #[test]
    fn reminders_and_cooldown_go_on_while_nothing_comes() {
        let mut server = Server::new("nodata 60000 auto off repeat 600000 critical 1000000");
        server.reads(0, 20.0);
        server.runs_until(60_001 + 3 * 600_000);
        let expected = [60_001, 660_001, 1_260_001, 1_860_001];
        assert_eq!(
            server
                .events()
                .iter()
                .map(|(ms, _)| *ms)
                .collect::<Vec<_>>(),
            expected
        );
        server.sensor.model.alarm.acknowledge(b"eva");
        server.runs_until(100_000_000);
        assert_eq!(server.told.len(), 4, "none after it was acknowledged");

        let mut server =
            Server::new("nodata 60000 auto off clear 1 cooldown 600000 critical 1000000");
        server.reads(0, 20.0);
        server.runs_until(70_000);
        server.reads(70_000, 20.0);
        server.runs_until(100_000_000);
        assert_eq!(
            server.events(),
            [
                (60_001, Event::Firing),
                (70_000, Event::Resolved),
                (670_000, Event::Firing)
            ]
        );
    }

    #[test]
    fn a_server_that_has_just_begun_to_listen_gives_every_sensor_its_time() {
        let mut server = Server::new(ON);
        server.reads(0, 20.0);
        // The server was down for an hour.
        server.since = at(3_600_000 + AHEAD);
        server.runs_until(3_660_000);
        assert_eq!(server.told, []);
        server.runs_until(3_670_000);
        assert_eq!(server.events(), [(3_660_001, Event::Firing)]);
        // And again: what is open is not told twice, though it may get worse.
        server.since = at(7_200_000 + AHEAD);
        server.timer = Some(server.since);
        server.runs_until(7_270_000);
        assert_eq!(server.told.len(), 1);
        server.runs_until(7_290_000);
        assert_eq!(server.events()[1..], [(7_290_000, Event::Escalated)]);
    }

    #[test]
    fn a_sensor_is_forgotten_when_expire_is_over_and_not_before() {
        let mut server = Server::new("expire 60000 nodata 30000 auto off");
        server.reads(0, 20.0);
        let profile = server.sensor.profile();
        let due = |server: &Server, ms: i64| {
            server
                .sensor
                .model
                .due(&profile, server.since, at(ms + AHEAD))
        };
        assert_eq!(due(&server, 30_000), Due::Nothing);
        assert_eq!(
            due(&server, 30_001),
            Due::Judge(Silence {
                at: at(30_001),
                ms: 30_001
            })
        );
        assert_eq!(due(&server, 60_000), Due::Forget);
        assert_eq!(
            server
                .sensor
                .model
                .next_look(&profile, server.since, at(40_000 + AHEAD)),
            Some(at(40_001 + AHEAD)),
            "the silence is yet to be judged"
        );
        server.runs_until(59_000);
        assert_eq!(server.timer, Some(at(60_000 + AHEAD)));
    }

    #[test]
    fn what_arrives_while_nobody_asks_ends_the_time_of_the_arrival_before() {
        let mut server = Server::new(ON);
        server.reads(0, 20.0);
        server.sensor.model.set_timer(7);
        server.sensor.set("nodata off");
        server.reads(1000, 20.0);
        let model = &server.sensor.model;
        assert_eq!((model.arrived, model.timer), (Timestamp::ZERO, 0));
    }

    #[test]
    fn switched_on_where_no_arrival_is_known_it_counts_from_then() {
        let mut server = Server::new("max 28");
        server.reads(0, 20.0);
        assert_eq!(server.sensor.model.arrived, Timestamp::ZERO);
        server.sensor.set("nodata 60000");
        let profile = server.sensor.profile();
        let since = at(500_000 + AHEAD);
        let model = &server.sensor.model;
        assert_eq!(
            model.due(&profile, since, at(560_000 + AHEAD)),
            Due::Nothing
        );
        assert_eq!(
            model.due(&profile, since, at(560_001 + AHEAD)),
            Due::Judge(Silence {
                at: at(60_001),
                ms: 60_001
            })
        );
    }

    #[test]
    fn switched_off_its_episode_ends_like_any_that_nobody_watches() {
        let mut server = Server::new(ON);
        server.reads(0, 20.0);
        server.runs_until(70_000);
        server.sensor.set("nodata off");
        let profile = server.sensor.profile();
        let next = server
            .sensor
            .model
            .next_look(&profile, server.since, at(9_000_000));
        assert_eq!(next, None);
        server.reads(100_000, 20.0);
        assert_eq!(server.events()[1..], [(100_000, Event::Resolved)]);
    }

    #[test]
    fn a_sensor_never_read_or_not_enabled_is_not_missed() {
        let mut never = Server::new(ON);
        let profile = never.sensor.profile();
        assert_eq!(
            never.sensor.model.due(&profile, at(0), at(9_000_000)),
            Due::Nothing
        );
        assert_eq!(never.sensor.model.next_look(&profile, at(0), at(5)), None);
        let mut off = Server::new("nodata 60000 enabled no");
        off.reads(0, 20.0);
        off.runs_until(9_000_000);
        assert_eq!(off.told, []);
    }

    #[test]
    fn the_same_decision_leaves_the_same_bits_on_a_server_that_decides_nothing() {
        let mut master = Server::new("nodata 60000 max 28 repeat 100000");
        let mut replica = Sensor::new("nodata 60000 max 28 repeat 100000");
        for ms in [0, 30_000, 200_000, 900_000] {
            master.reads(ms, 20.0);
            replica.add(ms, 20.0);
            replica.model.arrived = master.sensor.model.arrived;
            replica.model = codec::load(&replica.stored()).unwrap();
            let profile = master.sensor.profile();
            for now in (0..12).map(|n| at(ms + AHEAD + n * 50_000)) {
                if let Due::Judge(silence) = master.sensor.model.due(&profile, master.since, now) {
                    let told = master
                        .sensor
                        .model
                        .silent(KEY, silence, &mut master.sensor.rules);
                    assert_eq!(replica.model.silent(KEY, silence, &mut replica.rules), told);
                }
                assert_eq!(master.sensor.stored(), replica.stored());
            }
        }
        assert!(master.sensor.model.alarm.episodes > 0);
    }
}
