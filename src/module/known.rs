//! Models that were opened before, by the names of their sensors: to find one here costs a tenth of having the server open its key.
//!
//! The server owns a model, so one is only known from when its key was opened to when the server tells that it leaves its
//! place: `unlink` when a key is deleted, overwritten, renamed, moved, expired or evicted; an event when a database is
//! flushed or swapped, or all data is replaced; `defrag` when memory moves. None is known whose key can expire, or could be
//! evicted for not being used, for only the server can tell when that is due; none while data is loaded; and none on a
//! cluster. Those that are known are opened again now and then, so that the server sees them used.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use anomaly_core::cache::{Cache, PAGE, Tag};
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model};
use smallvec::SmallVec;

use crate::audience::Situation;
use crate::seating::{LINE, Rooms};
use crate::server::{Ctx, Key, Mode, Str};
use crate::state::with;
use crate::{datatype, heap};

/// What finding models may take: such a part of the memory that the module takes, and no more than so many bytes for each model.
const SHARE: usize = 9;
const EACH: usize = 32;
/// For so many bits of milliseconds, 65 s, a known model need not be opened; 8 s where tests are to see it.
const TURN: u32 = if cfg!(debug_assertions) { 13 } else { 16 };

/// Models by the database and name of their keys.
#[derive(Default)]
pub(crate) struct Known {
    /// Where a model is, 48 bits, of which the lowest tell its rooms; and 16 of when its key was opened last.
    cache: Cache,
    /// Why nothing is known for now.
    pause: Option<Pause>,
    /// How often a model was found, for tests.
    #[cfg(debug_assertions)]
    found: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// The server has moved models.
    Moved,
    /// It had, in that turn.
    MovedIn(u16),
    /// It counts how often each key is opened.
    Counts,
    /// A database is being emptied. Other modules hear of that, too, and may add readings meanwhile.
    Emptying,
}

impl Known {
    /// Looks for a sensor. Where its reading comes alone, by a command of its own, what the next one is likely to need is fetched meanwhile.
    #[inline(always)]
    pub(crate) fn seek<'a>(
        &mut self,
        situation: Situation,
        db: c_int,
        key: &'a [u8],
        now: Timestamp,
        comes_alone: bool,
    ) -> Sought<'a> {
        let nowhere = Sought {
            db,
            key,
            place: None,
            model: None,
        };
        if situation.can_lose_keys() {
            return nowhere;
        }
        let tag = self.cache.tag(db, key);
        let turn = (now.millis() >> TURN) as u16;
        if self.pause.is_some() && !self.goes_on(turn) {
            return nowhere;
        }
        let found = self.cache.get(tag);
        let model = found.filter(|found| found.value as u16 == turn);
        #[cfg(debug_assertions)]
        {
            self.found += u64::from(model.is_some());
        }
        if let Some(found) = model {
            fetch_model(found.value);
            if comes_alone {
                self.look_ahead(found.place);
            }
        }
        let model = model.and_then(|found| model_of(found.value));
        Sought {
            place: Some(Place { tag, turn }),
            model,
            ..nowhere
        }
    }

    /// Has the processor fetch what the next reading is likely to need, and for the one after that what tells where that is.
    #[inline(always)]
    fn look_ahead(&mut self, place: usize) {
        let Some(next) = self.cache.turn(place) else {
            return;
        };
        fetch_model(self.cache.at(next));
        let later = self.cache.after(next);
        if let Some(line) = later.and_then(|later| self.cache.line_of(later)) {
            fetch(line, 1);
        }
    }

    /// Whether sensors can be known.
    pub(crate) fn knows_any(&self, situation: Situation) -> bool {
        self.cache.bytes() > 0 && self.pause.is_none() && !situation.can_lose_keys()
    }

    /// Sensors that are about to be looked for: what is known of all of them comes from memory at once, instead of one after the
    /// other.
    pub(crate) fn expect(&self, db: c_int, sensors: &[&[u8]]) {
        let tags = sensors.iter().map(|key| self.cache.tag(db, key));
        let tags: SmallVec<[Tag; 64]> = tags.collect();
        for line in tags.iter().filter_map(|tag| self.cache.line(*tag)) {
            fetch(line, 1);
        }
        for found in tags.iter().filter_map(|tag| self.cache.peek(*tag)) {
            fetch_model(found);
        }
    }

    /// The model of that name leaves its place, or can from now on leave it without a word.
    pub(crate) fn forget(&mut self, db: c_int, key: &[u8]) {
        if self.cache.bytes() > 0 {
            self.cache.forget(self.cache.tag(db, key));
            self.cache.fit(most());
        }
    }

    #[cfg(debug_assertions)]
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    /// All do.
    pub(crate) fn clear(&mut self) {
        self.cache.clear();
    }

    /// The server moves models elsewhere, which one it does not tell. It does so in bursts: until there was none for a turn,
    /// nothing is known.
    pub(crate) fn moved(&mut self) {
        if self.cache.bytes() > 0 {
            self.cache.clear();
        }
        if self.pause != Some(Pause::Counts) {
            self.pause = Some(Pause::Moved);
        }
    }

    /// A database begins to be emptied, or has been: all are forgotten, and none is known in between.
    pub(crate) fn emptying(&mut self, begins: bool) {
        self.cache.clear();
        if self.pause != Some(Pause::Counts) {
            self.pause = begins.then_some(Pause::Emptying);
        }
    }

    /// Whether the pause is over.
    #[cold]
    fn goes_on(&mut self, turn: u16) -> bool {
        match self.pause {
            Some(Pause::Moved) => self.pause = Some(Pause::MovedIn(turn)),
            Some(Pause::MovedIn(then)) if turn.wrapping_sub(then) > 1 => self.pause = None,
            _ => {}
        }
        self.pause.is_none()
    }

    /// Bytes that finding a model takes, without the page that is for all.
    pub(crate) fn share(&self) -> usize {
        let sensors = usize::try_from(datatype::totals().0).unwrap_or(0);
        self.cache.bytes().saturating_sub(PAGE) / sensors.max(1)
    }

    fn note(&mut self, place: Place, model: &mut Model) {
        let address = ptr::from_mut(model).expose_provenance() as u64;
        if address >> 48 == 0 {
            let rooms = Rooms::given(model).bits();
            let (value, most) = ((address | rooms) << 16 | u64::from(place.turn), most());
            self.cache.fit(most);
            let old = |value: u64| value as u16 != place.turn;
            self.cache.put(place.tag, value, most, old);
        }
    }
}

/// The bits of an address that tell rooms: a model lies where they would be zero.
const ROOMS: u64 = (1 << Rooms::BITS) - 1;
const _: () = assert!(align_of::<Model>() > ROOMS as usize);

/// The model of a value of the cache.
#[inline(always)]
fn model_of(found: u64) -> Option<NonNull<Model>> {
    let address = found >> 16 & !ROOMS;
    NonNull::new(ptr::with_exposed_provenance_mut(address as usize))
}

/// Has the processor fetch the model of a value of the cache, with what is in its rooms.
#[inline(always)]
fn fetch_model(found: u64) {
    let lines = Rooms::lines(found >> 16);
    fetch(
        ptr::with_exposed_provenance::<u8>((found >> 16) as usize),
        lines,
    );
}

/// Has the processor fetch so many lines of memory from there on, while it goes on with something else.
#[inline(always)]
fn fetch<T>(from: *const T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which no address makes an access of.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast::<i8>().wrapping_add(LINE * line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, lines);
}

/// Bytes that finding models may take, beside the page that is for all.
fn most() -> usize {
    let sensors = usize::try_from(datatype::totals().0).unwrap_or(0);
    (heap::bytes() / SHARE).min(sensors.saturating_mul(EACH))
}

/// A sensor, and where it is to be found.
pub(crate) struct Sought<'a> {
    pub(crate) db: c_int,
    pub(crate) key: &'a [u8],
    /// Where it may be noted; `None`: nowhere.
    place: Option<Place>,
    model: Option<NonNull<Model>>,
}

#[derive(Clone, Copy)]
struct Place {
    tag: Tag,
    turn: u16,
}

impl Sought<'_> {
    /// Whether its model is known, so that its key exists.
    pub(crate) fn is_known(&self) -> bool {
        self.model.is_some()
    }

    /// Its model, if it is known. Nothing may have changed keys since it was looked for.
    #[inline]
    pub(crate) fn known<'a>(&self) -> Option<&'a mut Model> {
        // SAFETY: what is known is where it was, and nobody else refers to it: the server runs one callback at a time.
        self.model.map(|mut known| unsafe { known.as_mut() })
    }

    /// The model at the sensor's key, a new one where there is no key, and whether it is; `key` holds the key open. From then
    /// on it is known, if it may be.
    #[inline(never)]
    pub(crate) fn open<'a>(
        &self,
        ctx: Ctx,
        sensor: Str<'_>,
        key: &'a mut Option<Key>,
    ) -> Result<(&'a mut Model, bool), Error> {
        let key = key.insert(Key::open(ctx, sensor, Mode::Change));
        let (is_new, lasts) = (key.is_empty(), !key.expires());
        let model = datatype::model_or_new(key, self.key)?;
        if let Some(place) = self.place.filter(|_| lasts) {
            with(|state| state.known.note(place, model));
        }
        Ok((model, is_new))
    }
}

/// A model has left its place, or is freed. One that were known still would be written to after that: in a build with debug
/// assertions this ends the server.
pub(crate) fn is_gone(model: *const Model) {
    #[cfg(debug_assertions)]
    checked::is_gone(model);
    #[cfg(not(debug_assertions))]
    let _ = model;
}

/// Called on the server's main thread, before anything is known.
pub(crate) fn init(ctx: Ctx) {
    #[cfg(debug_assertions)]
    checked::init();
    reconfigured(ctx);
}

/// The server's settings are other ones.
pub(crate) fn reconfigured(ctx: Ctx) {
    let policy = ctx.info(c"memory", c"maxmemory_policy");
    let counts = policy.is_none_or(|policy| policy.ends_with(b"lfu"));
    with(|state| {
        let known = &mut state.known;
        if counts {
            known.clear();
            known.pause = Some(Pause::Counts);
        } else if known.pause == Some(Pause::Counts) {
            known.pause = None;
        }
    });
}

#[cfg(debug_assertions)]
mod checked {
    use std::cell::Cell;

    use anomaly_core::Model;

    use crate::state::with;

    /// What is larger is not searched.
    const LARGEST: usize = 1 << 18;

    thread_local! {
        /// This is the server's main thread, the only one that may look at what is known.
        static MAIN: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn init() {
        MAIN.with(|main| main.set(true));
    }

    pub(super) fn is_gone(model: *const Model) {
        let address = model as u64;
        let is_known = MAIN.with(Cell::get)
            && with(|state| {
                let cache = &state.known.cache;
                cache.bytes() <= LARGEST
                    && cache
                        .values()
                        .any(|value| value >> 16 & !super::ROOMS == address)
            });
        if is_known {
            crate::server::log(None, "warning", "anomaly: a model that is known has gone");
            std::process::abort();
        }
    }
}
