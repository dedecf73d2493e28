//! ADD, MADD and the internal `_apply`.

use anomaly_core::Error;
use anomaly_core::alert::Source;
use anomaly_core::command::add::{self, Add};
use anomaly_core::model::Outcome;
use anomaly_core::units::Timestamp;

use super::{internal, sensor};
use crate::ingest::{Batch, Given, Taken};
use crate::server::{Args, Ctx, Str};
use crate::state::with;
use crate::{effects, ingest, reply, samples, silence};

/// One in so many commands of readings is timed: reading a clock costs more than a tenth of scoring.
pub(crate) const TIMED: u64 = 64;

/// Readings of MADD that are archived together, and between two looks at the memory.
const TOGETHER: usize = 64;

fn timed<T>(readings: u64, work: impl FnOnce() -> T) -> T {
    if with(|state| state.counts.readings) % TIMED >= readings {
        return work();
    }
    let (done, took) = samples::timed_apart(work);
    with(|state| {
        state.counts.timed_readings += readings;
        state.counts.timed_nanoseconds += took;
    });
    done
}

/// The reading whose key is the argument at `key`, its time and value the two after it.
fn given(args: Args<'_>, key: usize, item: Add) -> Result<Given<'_>, Error> {
    Ok(Given {
        sensor: sensor(args, key)?,
        when: item.when,
        value: item.value,
        at_word: args.get(key + 1),
        value_word: args.get(key + 2),
        source: None,
        explain: item.explain,
    })
}

pub(crate) fn add(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if !(4..=5).contains(&args.len()) {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    let add = Add::parse(args.bytes(2), args.bytes(3), args.get(4).map(Str::bytes))
        .inspect_err(|_| refused())?;
    let (mut outcome, mut taken) = (Outcome::default(), Taken::default());
    let given = given(args, 1, add)?;
    timed(1, || ingest::decide(ctx, &given, &mut outcome, &mut taken))
        .inspect_err(|_| refused())?;
    if add.explain {
        explain(ctx, &outcome, &taken);
    } else {
        reply::verdict(ctx, outcome.verdict);
    }
    Ok(())
}

#[inline(never)]
fn explain(ctx: Ctx, outcome: &Outcome, taken: &Taken) {
    match &taken.profile {
        Some(profile) => reply::send(ctx, &add::explained(taken.reading, outcome, profile)),
        None => reply::verdict(ctx, outcome.verdict),
    }
}

pub(crate) fn madd(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let items = (args.len() - 1) / 3;
    if items == 0 || !(args.len() - 1).is_multiple_of(3) {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    let mut replies = reply::Array::new(ctx, items);
    let mut full = false;
    timed(items as u64, || {
        let mut batch = Batch::new(ctx, items.min(TOGETHER));
        for first in (1..args.len()).step_by(3) {
            // What the server asks of each command, asked of each part of a long one.
            if first % (3 * TOGETHER) == 1 && first > 1 {
                batch.settle();
                full = ctx.is_out_of_memory();
            }
            if first % (3 * TOGETHER) == 1 {
                let part = (first..args.len()).step_by(3).take(TOGETHER);
                batch.expect(part.map(|key| args.bytes(key)));
            }
            let item = if full {
                Err(Error::OutOfMemory)
            } else {
                Add::item(args.bytes(first + 1), args.bytes(first + 2))
            };
            match item.and_then(|item| batch.take(given(args, first, item)?)) {
                Ok(verdict) => replies.verdict(verdict),
                Err(error) => {
                    refused();
                    replies.error(&error.to_string());
                }
            }
        }
        batch.settle();
        replies.end();
    });
    Ok(())
}

fn refused() {
    with(|state| state.counts.refused += 1);
}

/// `_apply version key timestamp value archived [arrival] [LABELS device metric stream]`: what a master decided, for
/// replicas and the AOF. Version 2 has the arrival, which only some rules ask for.
pub(crate) fn apply(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    let unknown = |given: &[u8]| Error::Version {
        given: given.to_vec(),
    };
    let (arrival, rest) = match args.bytes(1) {
        version if version == effects::APPLY_VERSION.as_bytes() => (None, 6),
        version if version == effects::APPLY_ARRIVAL.as_bytes() => {
            (Some(Timestamp::parse(args.bytes(6))?), 7)
        }
        version => return Err(unknown(version)),
    };
    let at = Timestamp::parse(args.bytes(3))?;
    let labels;
    let mut reading = given(args, 2, Add::item(args.bytes(3), args.bytes(4))?)?;
    reading.source = match args.rest(rest)[..] {
        [] => None,
        [effects::LABELS, device, metric, stream] => {
            labels = Source {
                device,
                metric,
                stream,
                id: None,
            };
            Some(&labels)
        }
        _ => return Err(unknown(args.bytes(rest))),
    };
    let archived = args.bytes(5) == effects::IN_SERIES.as_bytes();
    ingest::apply(ctx, &reading, at, arrival, archived)?;
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}

/// `_silent version key instant ms`: a silence that a master decided on.
pub(crate) fn silent(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    silence::apply(ctx, args)
}
