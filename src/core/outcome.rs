//! What becomes of a reading.

use crate::detect::{Finding, Grade};
use crate::episode::{Episode, Event};
use crate::reading::Reading;
use crate::units::{Severity, score};

/// The judgement of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing abnormal.
    Normal,
    /// Abnormal.
    Warning,
    /// Badly abnormal.
    Critical,
    /// Not enough readings yet.
    Warmup,
    /// Older than the newest reading: archived, not scored.
    Late,
    /// The newest reading again: only counted.
    Duplicate,
}

impl Verdict {
    /// All of them; the position is the number under which one is stored.
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::Warning,
        Self::Critical,
        Self::Warmup,
        Self::Late,
        Self::Duplicate,
    ];

    /// Those of readings that were scored.
    pub(crate) const SCORED: [Self; 4] =
        [Self::Normal, Self::Warning, Self::Critical, Self::Warmup];

    /// Of a reading of that severity.
    #[must_use]
    pub fn of(severity: Option<Severity>) -> Self {
        match severity {
            None => Self::Normal,
            Some(Severity::Warning) => Self::Warning,
            Some(Severity::Critical) => Self::Critical,
        }
    }

    /// The word of the reply.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Warmup => "warmup",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What became of a reading: the verdict and the effects it asks for, as values.
///
/// It is large, for it can explain itself: who takes in many readings makes room for one and has it filled again.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Verdict,
    /// Of the finding that decided it, or came nearest to: 0 to 1, and 0 where nothing judged.
    pub(crate) score: f64,
    /// That finding; [`Model::take_in`](crate::Model::take_in) leaves it out where nobody will ask for it.
    pub finding: Option<Finding>,
    /// What the open episode's own detector found: it tells why the episode is over.
    pub own: Option<Finding>,
    /// Readings still needed, during warm-up.
    pub needed: u32,
    /// The newest reading before this one.
    pub newest: Option<Reading>,
    /// The transition of an episode: an alert is to be written.
    pub transition: Option<(Event, Episode)>,
    /// The reading is to be written to the series.
    pub archive: bool,
    /// An alert was withheld because of `cooldown`.
    pub suppressed: bool,
    /// There is no more to it than its verdict: nothing is the matter with the sensor, nor was before it, it follows another
    /// reading, and it does not matter when it arrived.
    pub is_plain: bool,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            verdict: Verdict::Normal,
            score: 0.0,
            finding: None,
            own: None,
            needed: 0,
            newest: None,
            transition: None,
            archive: false,
            suppressed: false,
            is_plain: false,
        }
    }
}

impl Outcome {
    /// As a default one, for a reading that follows the newest so far. Only what says that there is nothing is written.
    pub(crate) fn begin(&mut self, newest: Option<Reading>, archive: bool) {
        (self.verdict, self.needed, self.score) = (Verdict::Normal, 0, 0.0);
        (self.finding, self.own, self.transition) = (None, None, None);
        (self.newest, self.archive, self.suppressed) = (newest, archive, false);
        self.is_plain = false;
    }

    /// Whether no more is to be told of a reading than its grade.
    #[inline(always)]
    pub(crate) fn is_graded(&mut self, grade: Grade) -> bool {
        match grade {
            Grade::Abnormal => return false,
            Grade::Normal(ratio) => self.score = score(ratio),
            Grade::Warming(needed) => (self.verdict, self.needed) = (Verdict::Warmup, needed),
            Grade::Skipped => {}
        }
        true
    }

    /// 0 to 1; 0 where nothing judged.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score
    }
}
