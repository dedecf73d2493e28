//! What most sensors lack: trouble, readings out of order, detectors that are seldom on, and what only some rules ask for.
//!
//! A sensor with fixed limits or a z-score has none of it until something happens to it. Afterwards it has, since episodes
//! are counted for good.

use std::mem;

use anomaly_seat::Seat;

use crate::detect::{Auto, Cusum, Ewma};
use crate::episode::{Alarm, Episode};
use crate::late::LateStreak;
use crate::recent::Recent;
use crate::units::Timestamp;

/// What a model may have beside what every model has.
#[derive(Clone, Debug, PartialEq)]
pub struct More {
    /// How often 32 bits of readings have run over.
    pub(crate) turns: u32,
    /// The number under which the server's timer knows it, 0: none. A matter of this server: it is not stored.
    pub timer: u32,
    /// Readings older than the newest one; saturating.
    pub late: u32,
    /// Readings equal to the newest one; saturating.
    pub duplicates: u32,
    /// Late readings in a row.
    pub streak: LateStreak,
    /// Scores of the last reading by each detector that was on, in the order of [`Kind::JUDGING`](crate::detect::Kind); none
    /// where fewer than two were.
    pub scores: Option<Box<[f32]>>,
    /// Time of the first reading that had the value of the newest one, of those in a row; known while `stuck` is on.
    pub changed: Option<Timestamp>,
    /// The weighted mean, while `ewma` is on.
    pub ewma: Option<Box<Ewma>>,
    /// The cumulative sums, while `cusum` is on.
    pub cusum: Option<Box<Cusum>>,
    /// What `auto` has learnt, while it is on; in the room that comes with that of all this, where there is any.
    pub auto: Seat<Auto>,
    /// The episode machine.
    pub alarm: Alarm,
    /// When the last reading arrived, by the clock of the server that took it in; zero while no setting asks for it.
    pub arrived: Timestamp,
    /// The last readings, if the rule keeps any.
    pub recent: Option<Box<Recent>>,
}

impl Default for More {
    fn default() -> Self {
        Self::NONE
    }
}

impl More {
    /// Bytes of room for it, with that for what `auto` knows behind.
    pub const ROOM: usize = size_of::<Self>() + size_of::<Auto>();

    /// What a sensor without any of it has.
    pub const NONE: Self = Self {
        turns: 0,
        timer: 0,
        late: 0,
        duplicates: 0,
        streak: LateStreak {
            length: 0,
            newest: 0,
        },
        scores: None,
        changed: None,
        ewma: None,
        cusum: None,
        auto: Seat::none(),
        alarm: Alarm::NONE,
        arrived: Timestamp::ZERO,
        recent: None,
    };

    /// Whether there is nothing of it; to the bit, since it is stored.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::NONE && self.alarm.run_peak.is_sign_positive()
    }

    /// Becomes that one, in its own room.
    pub(crate) fn become_other(&mut self, mut other: Self) {
        let mut auto = mem::take(&mut self.auto);
        auto.set(other.auto.take());
        *self = Self { auto, ..other };
    }

    /// Scores of the last reading, where more than one detector was on.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        self.scores.as_deref().unwrap_or_default()
    }

    /// Tells the bytes of each allocation behind it, 0 for one that is not there.
    pub(crate) fn allocations(&self, tell: &mut impl FnMut(usize)) {
        tell(size_of_val(self.scores()));
        tell(boxed(self.ewma.as_deref()));
        tell(boxed(self.cusum.as_deref()));
        if !self.auto.has_room() {
            tell(boxed(self.auto.as_ref()));
        }
        if let Some(recent) = &self.recent {
            tell(size_of::<Recent>());
            tell(recent.heap_bytes());
        }
        if let Some(episode) = &self.alarm.episode {
            tell(size_of::<Episode>());
            tell(episode.acked_by.as_ref().map_or(0, |by| by.len()));
        }
    }
}

fn boxed<T>(it: Option<&T>) -> usize {
    it.map_or(0, size_of_val)
}
