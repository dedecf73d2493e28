//! Where a model lies: in one allocation with its window and with what `auto` knows, if it has them, so that the processor waits for memory
//! once instead of once for each. What else a model may have is on the heap.
//!
//! Room is made for what a model has when it becomes the server's. What it gets or loses afterwards, as rules change, is put right when its
//! key is opened the next time.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use anomaly_core::Model;
use anomaly_core::detect::Auto;
use anomaly_core::more::More;
use anomaly_core::window::Window;
use anomaly_seat::Seat;

/// Bytes of a line of the processor's cache.
pub(crate) const LINE: usize = 64;

/// For what there is room behind a model, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rooms {
    window: bool,
    /// [`More`], and behind it [`Auto`].
    lively: bool,
}

const _: () = assert!(
    align_of::<Model>() == 8
        && align_of::<Window>() == 8
        && align_of::<More>() == 8
        && align_of::<Auto>() == 8,
    "each ends where the next may begin"
);

impl Rooms {
    /// Bits that tell all there is to tell of rooms.
    pub(crate) const BITS: u32 = 2;

    /// For what it has.
    fn wanted(model: &Model) -> Self {
        Self {
            window: model.window.is_some(),
            lively: model.auto.is_some(),
        }
    }

    /// Those it lies with.
    pub(crate) fn given(model: &Model) -> Self {
        Self {
            window: model.window.has_room(),
            lively: model.more.has_room(),
        }
    }

    pub(crate) fn bits(self) -> u64 {
        u64::from(self.window) | u64::from(self.lively) << 1
    }

    /// Lines of the processor's cache that models lie in whose rooms have these bits.
    #[inline(always)]
    pub(crate) fn lines(bits: u64) -> usize {
        const fn lines(window: bool, lively: bool) -> usize {
            Rooms { window, lively }.size().div_ceil(LINE)
        }
        match bits & ((1 << Self::BITS) - 1) {
            0 => const { lines(false, false) },
            1 => const { lines(true, false) },
            2 => const { lines(false, true) },
            _ => const { lines(true, true) },
        }
    }

    const fn more_at(self) -> usize {
        size_of::<Model>() + if self.window { size_of::<Window>() } else { 0 }
    }

    const fn size(self) -> usize {
        self.more_at() + if self.lively { More::ROOM } else { 0 }
    }

    fn layout(self) -> Layout {
        // SAFETY: a power of two, and a few lines.
        unsafe { Layout::from_size_align_unchecked(self.size(), align_of::<Model>()) }
    }

    fn window<T>(place: *mut T) -> *mut Window {
        place.wrapping_byte_add(size_of::<Model>()).cast()
    }

    fn more<T>(self, place: *mut T) -> *mut More {
        place.wrapping_byte_add(self.more_at()).cast()
    }

    fn auto<T>(self, place: *mut T) -> *mut Auto {
        self.more(place).wrapping_add(1).cast()
    }
}

/// Gives a model a place with room for what it has.
pub(crate) fn place(mut model: Model) -> NonNull<Model> {
    let rooms = Rooms::wanted(&model);
    let layout = rooms.layout();
    // SAFETY: the size is not zero. Each room lies behind the model in the same allocation, and is one seat's; the seats stay with it: `moved`
    // and `free` see to that, and a model that becomes another keeps its seats.
    unsafe {
        let place = alloc(layout).cast::<Model>();
        let Some(found) = NonNull::new(place) else {
            handle_alloc_error(layout)
        };
        if rooms.window {
            let window = model.window.take();
            model.window = Seat::with_room(Rooms::window(place).cast());
            model.window.set(window);
        }
        if rooms.lively {
            let mut more = model.more.take().unwrap_or_default();
            let auto = more.auto.take();
            more.auto = Seat::with_room(rooms.auto(place).cast());
            more.auto.set(auto);
            model.more = Seat::with_room(rooms.more(place).cast());
            model.more.set(Some(more));
        }
        place.write(model);
        found
    }
}

/// Frees a model and its place.
///
/// # Safety
/// It must be in a place of [`place`], and nobody may refer to it.
pub(crate) unsafe fn free(model: *mut Model) {
    // SAFETY: promised by the caller; first what is in it goes, then the place, of the size that it was made with: a seat does not lose its room.
    unsafe {
        #[cfg(debug_assertions)]
        check(&*model);
        let rooms = Rooms::given(&*model);
        ptr::drop_in_place(model);
        dealloc(model.cast(), rooms.layout());
    }
}

/// Each seat with room must find it behind the model. One that looks elsewhere reads what is another's: in a build with debug assertions this
/// ends the server.
#[cfg(debug_assertions)]
fn check(model: &Model) {
    let (rooms, place) = (Rooms::given(model), ptr::from_ref(model).cast_mut());
    let window = model.window.as_ref().filter(|_| rooms.window);
    let more = model.more.as_ref().filter(|_| rooms.lively);
    let auto = more.and_then(|more| more.auto.as_ref().filter(|_| more.auto.has_room()));
    let is_seated = window.is_none_or(|at| ptr::eq(at, Rooms::window(place)))
        && more.is_none_or(|at| ptr::eq(at, rooms.more(place)))
        && auto.is_none_or(|at| ptr::eq(at, rooms.auto(place)));
    if !is_seated {
        crate::server::log(None, "warning", "anomaly: a model has lost its rooms");
        std::process::abort();
    }
}

/// Whether its place is for other things than it has: rules have changed since it was given one. One that was just reset has nothing yet, and
/// will have what it had.
pub(crate) fn is_misplaced(model: &Model) -> bool {
    let rooms = Rooms::given(model);
    let fits = rooms == Rooms::wanted(model) && (!rooms.lively || model.auto.has_room());
    model.has_profile() && !fits
}

/// A model lies in another place now, with the same bytes, and its rooms behind it; what it has on the heap, `moved` may move.
///
/// # Safety
/// It must have been in a place of [`place`] before, nobody else may refer to it, and whatever `moved` gives must hold what was at the place it is
/// given. `place` must be good for all of its place: it comes from the allocator, and not from a reference to the model, which its rooms are no part of.
pub(crate) unsafe fn moved(place: *mut Model, mut moved: impl FnMut(*mut u8) -> *mut u8) {
    // SAFETY: promised by the caller. Rooms lie behind the model, so that what is found by their seats and what is found by the reference do
    // not overlap.
    unsafe {
        let model = &mut *place;
        let rooms = Rooms::given(model);
        if rooms.window {
            model.window.moved(|_| Rooms::window(place));
        } else {
            model.window.moved(|window| moved(window.cast()).cast());
        }
        if rooms.lively {
            model.more.moved(|_| rooms.more(place));
        } else {
            model.more.moved(|more| moved(more.cast()).cast());
        }
        if let Some(more) = model.more.as_mut() {
            if more.auto.has_room() {
                more.auto.moved(|_| rooms.auto(place));
            } else {
                more.auto.moved(|auto| moved(auto.cast()).cast());
            }
        }
    }
}
