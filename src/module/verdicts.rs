//! The verdicts of MADD: a list of nothing but `normal`, which most are, is a reply that is kept and sent again as a whole.

use std::collections::HashMap;
use std::ffi::CString;

use anomaly_core::model::Verdict;

use crate::reply;
use crate::server::{Ctx, Kept};
use crate::state::with;

/// Lists of so many readings are kept, once each length has been sent: 9 bytes for a verdict, in the worst case 75 KB.
const LONGEST: usize = 128;

/// Lists of `normal` that are kept, by their length; `None`: the server does not send it as it is to be sent.
#[derive(Default)]
pub(crate) struct Lists {
    kept: HashMap<usize, Option<Kept>, foldhash::fast::RandomState>,
    /// So long a one is being made.
    pub(crate) making: Option<usize>,
}

/// Replies to readings of one command, each when it is given. None is sent as long as all are normal.
pub(crate) struct List {
    ctx: Ctx,
    readings: usize,
    /// So many were normal, before anything else was.
    normal: usize,
    begun: bool,
}

impl List {
    /// The command has so many readings.
    pub(crate) fn new(ctx: Ctx, readings: usize) -> Self {
        Self {
            ctx,
            readings,
            normal: 0,
            begun: false,
        }
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        if !self.begun && verdict == Verdict::Normal {
            self.normal += 1;
            return;
        }
        self.begin();
        reply::verdict(self.ctx, verdict);
    }

    pub(crate) fn error(&mut self, text: &str) {
        self.begin();
        self.ctx.reply_error(text);
    }

    /// All readings have been replied to.
    pub(crate) fn end(mut self) {
        match self.kept() {
            Some(kept) if !self.begun => self.ctx.reply_again(kept),
            _ => self.begin(),
        }
    }

    fn kept(&self) -> Option<Kept> {
        let readings = self.readings;
        if self.begun || readings > LONGEST {
            return None;
        }
        let kept = with(|state| state.lists.kept.get(&readings).copied());
        kept.unwrap_or_else(|| keep(self.ctx, readings))
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.ctx.reply_array(self.readings);
            (0..self.normal).for_each(|_| reply::verdict(self.ctx, Verdict::Normal));
        }
    }
}

/// Makes a list of `normal` that is to be kept.
#[cold]
fn keep(ctx: Ctx, readings: usize) -> Option<Kept> {
    let word = Verdict::Normal.word();
    let expected = format!("*{readings}\r\n{}", format!("+{word}\r\n").repeat(readings));
    let word = CString::new(word).unwrap_or_default();
    with(|state| state.lists.making = Some(readings));
    let kept = ctx.kept(c"ANOMALY._VERDICT", &word, expected.as_bytes());
    with(|state| {
        state.lists.making = None;
        state.lists.kept.insert(readings, kept);
    });
    kept
}
