//! `ANOMALY.INFO key`

use super::alerts::state;
use super::{Arg, Keys, Reply, Spec, read};
use crate::detect::{Finding, Judgement, Kind, nodata};
use crate::key;
use crate::model::Model;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::recent::{Stretch, Trend};
use crate::units::Timestamp;

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "a map, or nil if there is no such sensor",
    complexity: "O(N log N) with N readings kept by `recent`",
    keys: Keys::One(1),
    ..read(
        "anomaly.info",
        "Tells everything that is known of a sensor",
        2,
        &[Arg::key()],
    )
};

/// The reply at `now` by the server's clock. `bytes` is what the key takes in memory.
#[must_use]
pub fn reply(
    sensor: &[u8],
    model: &Model,
    profile: &Profile,
    now: Timestamp,
    bytes: usize,
) -> Reply {
    let newest = model.newest();
    let known = |x: f64| Reply::double((model.readings() > 0).then_some(x));
    let recent = model.recent.as_deref();
    Reply::map([
        ("readings", Reply::count(model.readings())),
        ("late", Reply::count(model.late)),
        ("duplicates", Reply::count(model.duplicates)),
        (
            "first",
            model
                .first()
                .map_or(Reply::Null, |at| Reply::Int(at.millis())),
        ),
        (
            "last",
            newest.map_or(Reply::Null, |r| Reply::Int(r.at.millis())),
        ),
        ("value", Reply::double(newest.map(|r| r.value))),
        ("mean", known(model.mean())),
        ("stddev", known(model.stddev())),
        ("score", known(model.score())),
        ("verdict", Reply::text(model.verdict().word())),
        ("episode", episode(model)),
        ("detectors", detectors(model, profile, now)),
        (
            "recent",
            Reply::Array(recent.map_or(vec![], |r| {
                r.readings().map(|x| Reply::Double(x.value)).collect()
            })),
        ),
        (
            "windows",
            Reply::map([
                (
                    "tumbling",
                    recent
                        .and_then(|r| r.tumbling())
                        .map_or(Reply::Null, stretch),
                ),
                (
                    "sliding",
                    recent
                        .and_then(|r| r.sliding())
                        .map_or(Reply::Null, stretch),
                ),
            ]),
        ),
        (
            "trend",
            recent.and_then(|r| r.trend()).map_or(Reply::Null, trend),
        ),
        (
            "series",
            if profile.archive {
                Reply::text(key::series(sensor))
            } else {
                Reply::Null
            },
        ),
        ("bytes", Reply::count(bytes)),
    ])
}

fn episode(model: &Model) -> Reply {
    let open = model.alarm.open();
    let or_null = |reply: Option<Reply>| reply.unwrap_or(Reply::Null);
    Reply::map([
        ("state", Reply::text(state(model))),
        (
            "severity",
            or_null(open.map(|e| Reply::text(e.severity.word()))),
        ),
        ("kind", or_null(open.map(|e| Reply::text(e.kind.word())))),
        (
            "started",
            or_null(open.map(|e| Reply::Int(e.start.millis()))),
        ),
        ("readings", or_null(open.map(|e| Reply::count(e.readings)))),
        ("peak", Reply::double(open.map(|e| e.peak))),
        (
            "acked",
            or_null(open.and_then(|e| e.acked_by.as_ref()).map(Reply::text)),
        ),
        ("episode", or_null(open.map(|e| Reply::text(e.name())))),
    ])
}

/// Each detector that is on: its score of the last reading, or of the time since, and what it expects of the next.
fn detectors(model: &Model, profile: &Profile, now: Timestamp) -> Reply {
    let on = Kind::JUDGING.into_iter().filter(|kind| profile.has(*kind));
    let mut fitted = model.clone();
    fitted.fit(profile);
    let rows = on.enumerate().map(|(index, kind)| {
        let score = model
            .scores()
            .get(index)
            .map_or(model.score(), |score| f64::from(*score));
        // A reading a second on, like the last, tells the band without changing anything.
        let last = model.newest().unwrap_or(Reading {
            at: Timestamp::ZERO,
            value: 0.0,
        });
        let next = Reading {
            at: last.at.plus(1000),
            ..last
        };
        let judged = fitted.ask(kind, next, profile, model.alarm.crossed());
        (kind.word(), detector(score, judged, kind, profile))
    });
    let silence = profile.has(Kind::Nodata).then(|| {
        let known = model.arrived != Timestamp::ZERO;
        let found = nodata::judge(known.then(|| now.since(model.arrived)), profile);
        let judged = Judgement::Scored(found);
        let row = detector(found.score(), judged, Kind::Nodata, profile);
        (Kind::Nodata.word(), row)
    });
    Reply::map(rows.chain(silence).collect::<Vec<_>>())
}

fn detector(score: f64, judged: Judgement, kind: Kind, profile: &Profile) -> Reply {
    let (found, needed): (Option<Finding>, u32) = match judged {
        Judgement::Scored(found) => (Some(found), 0),
        Judgement::Warming(needed) => (None, needed),
        Judgement::Skipped => (None, 0),
    };
    let threshold = profile
        .threshold(kind)
        .or_else(|| found.map(|f| f.threshold));
    Reply::map([
        ("score", Reply::Double(score)),
        ("threshold", Reply::double(threshold)),
        ("warm", Reply::Int(i64::from(needed == 0))),
        ("needed", Reply::count(needed)),
        ("expected", Reply::double(found.and_then(|f| f.expected))),
        ("lower", Reply::double(found.and_then(|f| f.lower))),
        ("upper", Reply::double(found.and_then(|f| f.upper))),
    ])
}

fn stretch(stretch: Stretch) -> Reply {
    Reply::map([
        ("from", Reply::Int(stretch.from)),
        ("count", Reply::count(stretch.count)),
        ("avg", Reply::Double(stretch.avg)),
        ("min", Reply::Double(stretch.min)),
        ("max", Reply::Double(stretch.max)),
        ("p99", Reply::Double(stretch.p99)),
    ])
}

fn trend(trend: Trend) -> Reply {
    Reply::map([
        ("slope", Reply::Double(trend.slope)),
        ("r2", Reply::Double(trend.r2)),
        ("direction", Reply::text(trend.word())),
    ])
}
