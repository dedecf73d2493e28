//! Replies: values in the client's protocol (maps become flat pairs on RESP2 by the server's own doing), and verdicts.
//!
//! The server puts a simple string together from three parts each time it is given one. A verdict is the reply of a command of
//! ours, kept when it is first needed; to send that again takes half of it.

use std::ffi::{CStr, CString};

use anomaly_core::Error;
use anomaly_core::command::Reply;
use anomaly_core::model::Verdict;

use crate::server::{Args, Ctx, Kept};
use crate::state::with;

/// Verdicts that are kept, by their position in [`Verdict::ALL`].
#[derive(Default)]
pub(crate) enum Verdicts {
    /// Not yet.
    #[default]
    None,
    /// They are being made.
    Making,
    /// Those that the server sends as they are to be sent.
    Made([Option<Kept>; Verdict::ALL.len()]),
}

/// Replies a verdict.
pub(crate) fn verdict(ctx: Ctx, verdict: Verdict) {
    let kept = with(|state| match &state.verdicts {
        Verdicts::Made(kept) => kept.get(verdict as usize).copied(),
        _ => None,
    });
    match kept {
        Some(Some(kept)) => ctx.reply_again(kept),
        Some(None) => ctx.reply_simple(word(verdict)),
        None => {
            ctx.reply_simple(word(verdict));
            keep(ctx);
        }
    }
}

/// Makes the verdicts that are to be kept.
#[cold]
fn keep(ctx: Ctx) {
    with(|state| state.verdicts = Verdicts::Making);
    let kept = Verdict::ALL.map(|verdict| {
        let expected = format!("+{}\r\n", verdict.word());
        ctx.kept(c"ANOMALY._VERDICT", word(verdict), expected.as_bytes())
    });
    with(|state| state.verdicts = Verdicts::Made(kept));
}

/// `_verdict word`: replies a verdict to the module itself, or a list of it.
pub(crate) fn of_command(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let known = Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.word().as_bytes() == args.bytes(1));
    match known {
        Some(Verdict::Normal) if let Some(many) = with(|state| state.lists.making) => {
            ctx.reply_array(many);
            (0..many).for_each(|_| ctx.reply_simple(word(Verdict::Normal)));
            Ok(())
        }
        Some(verdict) if with(|state| matches!(state.verdicts, Verdicts::Making)) => {
            ctx.reply_simple(word(verdict));
            Ok(())
        }
        _ => Err(Error::Internal),
    }
}

fn word(verdict: Verdict) -> &'static CStr {
    match verdict {
        Verdict::Normal => c"normal",
        Verdict::Warning => c"warning",
        Verdict::Critical => c"critical",
        Verdict::Warmup => c"warmup",
        Verdict::Late => c"late",
        Verdict::Duplicate => c"duplicate",
    }
}

pub(crate) fn send(ctx: Ctx, reply: &Reply) {
    match reply {
        Reply::Simple(text) => ctx.reply_simple(&CString::new(*text).unwrap_or_default()),
        Reply::Text(bytes) => ctx.reply_bytes(bytes),
        Reply::Int(n) => ctx.reply_int(*n),
        Reply::Double(x) => ctx.reply_double(*x),
        Reply::Null => ctx.reply_null(),
        Reply::Error(text) => ctx.reply_error(text),
        Reply::Array(items) => {
            ctx.reply_array(items.len());
            items.iter().for_each(|item| send(ctx, item));
        }
        Reply::Map(pairs) => {
            ctx.reply_map(pairs.len());
            for (name, value) in pairs {
                ctx.reply_bytes(name);
                send(ctx, value);
            }
        }
    }
}
