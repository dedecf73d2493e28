//! Replies: values in the client's protocol (maps become flat pairs on RESP2 by the server's own doing), and verdicts.
//!
//! The server puts a simple string together from three parts each time it is given one. A verdict is the reply of a command of
//! ours, kept when it is first needed; to send that again takes half of it. So is an array of as many normal verdicts as MADD
//! was asked for before.

use std::ffi::{CStr, CString};

use anomaly_core::Error;
use anomaly_core::command::Reply;
use anomaly_core::model::Verdict;

use crate::server::{Args, Ctx, Kept, borrowed};
use crate::state::with;

/// Arrays are kept of no more than so many verdicts, and of so many in all (9 bytes each): producers mostly send the same number
/// again and again.
const LONGEST: usize = 256;
const IN_ARRAYS: usize = 1024;

/// Replies that are kept; of those that the server does not send as they are to be sent, `None`.
#[derive(Default)]
pub(crate) struct Verdicts {
    /// By their position in [`Verdict::ALL`].
    single: Option<[Option<Kept>; Verdict::ALL.len()]>,
    /// Of nothing but normal ones, by their number.
    arrays: Vec<(usize, Option<Kept>)>,
    in_arrays: usize,
    /// Some are being made.
    making: bool,
}

/// Replies a verdict.
pub(crate) fn verdict(ctx: Ctx, verdict: Verdict) {
    let kept = with(|state| {
        let single = state.verdicts.single.as_ref()?;
        single.get(verdict as usize).copied()
    });
    match kept {
        Some(Some(kept)) => ctx.reply_again(kept),
        Some(None) => ctx.reply_simple(word(verdict)),
        None => {
            ctx.reply_simple(word(verdict));
            let single = Verdict::ALL.map(|verdict| kept_reply(ctx, verdict, None));
            with(|state| state.verdicts.single = Some(single));
        }
    }
}

/// Verdicts in an array. While all are normal none is sent, for then the whole array is one that may be kept.
pub(crate) struct Array {
    ctx: Ctx,
    len: usize,
    /// Normal ones before all others.
    normal: usize,
    /// It is being sent.
    begun: bool,
}

impl Array {
    /// One of `len` replies: so many must follow.
    pub(crate) fn new(ctx: Ctx, len: usize) -> Self {
        Self {
            ctx,
            len,
            normal: 0,
            begun: false,
        }
    }

    /// The next is a verdict.
    #[inline]
    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        if verdict == Verdict::Normal && !self.begun {
            self.normal += 1;
        } else {
            self.begin();
            self::verdict(self.ctx, verdict);
        }
    }

    /// The next is an error.
    pub(crate) fn error(&mut self, text: &str) {
        self.begin();
        self.ctx.reply_error(text);
    }

    /// There are no more.
    pub(crate) fn end(mut self) {
        if self.begun {
            return;
        }
        let len = self.len;
        let kept = with(|state| {
            let arrays = &state.verdicts.arrays;
            arrays.iter().find(|(of, _)| *of == len).copied()
        });
        match kept {
            Some((_, Some(kept))) => self.ctx.reply_again(kept),
            Some((_, None)) => self.begin(),
            None => {
                self.begin();
                keep_array(self.ctx, len);
            }
        }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.ctx.reply_array(self.len);
            (0..self.normal).for_each(|_| verdict(self.ctx, Verdict::Normal));
        }
    }
}

/// Keeps an array of so many normal verdicts, if there is room for it.
#[cold]
fn keep_array(ctx: Ctx, len: usize) {
    if len <= LONGEST && with(|state| state.verdicts.in_arrays + len <= IN_ARRAYS) {
        let kept = kept_reply(ctx, Verdict::Normal, Some(len));
        with(|state| {
            let verdicts = &mut state.verdicts;
            verdicts.in_arrays += len;
            verdicts.arrays.push((len, kept));
        });
    }
}

/// The reply of `_verdict`.
#[cold]
fn kept_reply(ctx: Ctx, verdict: Verdict, array: Option<usize>) -> Option<Kept> {
    let name = verdict.word();
    let one = format!("+{name}\r\n");
    let expected = match array {
        None => one,
        Some(len) => format!("*{len}\r\n{}", one.repeat(len)),
    };
    let args = [name, &array.unwrap_or(0).to_string()].map(|word| ctx.string(word.as_bytes()));
    with(|state| state.verdicts.making = true);
    let kept = ctx.kept(c"ANOMALY._VERDICT", &borrowed(&args), expected.as_bytes());
    with(|state| state.verdicts.making = false);
    kept
}

/// `_verdict word count`: replies a verdict to the module itself, or an array of so many of it (0: no array).
pub(crate) fn of_command(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let known = Verdict::ALL
        .into_iter()
        .find(|verdict| verdict.word().as_bytes() == args.bytes(1));
    let count = std::str::from_utf8(args.bytes(2)).unwrap_or_default();
    match (known, count.parse()) {
        (Some(verdict), Ok(count)) if with(|state| state.verdicts.making) => {
            if count > 0 {
                ctx.reply_array(count);
            }
            (0..count.max(1)).for_each(|_| ctx.reply_simple(word(verdict)));
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
