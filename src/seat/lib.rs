//! A value that may be there, in an allocation of its own or in room beside its owner.
//!
//! A processor finds what is behind a pointer only when it has the pointer: an owner and what it points to are two waits for
//! memory, one after the other, where they lie apart. In one allocation they are one. Which owners have room is known to whoever
//! allocates them; the others' values go to the heap, as in an `Option<Box<T>>`, which a [`Seat`] is otherwise.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// The address is that of room, whether or not there is a value in it.
const ROOM: usize = 1;
/// There is no value.
const FREE: usize = 2;
const MARKS: usize = ROOM | FREE;

/// An `Option<Box<T>>` that may have room of its own. As large as a pointer.
pub struct Seat<T> {
    /// Without marks: a value on the heap. `FREE` alone: no value, no room.
    at: *mut T,
    owns: PhantomData<T>,
}

// SAFETY: it owns its value, as a box does, and its room is its own.
unsafe impl<T: Send> Send for Seat<T> {}
// SAFETY: likewise.
unsafe impl<T: Sync> Sync for Seat<T> {}

impl<T> Seat<T> {
    const ALIGNED: () = assert!(align_of::<T>() > MARKS, "addresses have no bits to spare");

    /// No value, and no room for one but the heap.
    #[must_use]
    pub const fn none() -> Self {
        let () = Self::ALIGNED;
        Self {
            at: ptr::without_provenance_mut(FREE),
            owns: PhantomData,
        }
    }

    /// No value yet, and room for one.
    ///
    /// # Safety
    /// The room must be the seat's alone, and be there for as long as the seat: what moves to another place than it lies in now, apart from
    /// the room, must have [`Self::moved`] called before it is used again, and must not outlive the room.
    #[must_use]
    pub unsafe fn with_room(room: *mut MaybeUninit<T>) -> Self {
        let () = Self::ALIGNED;
        Self {
            at: room.cast::<T>().map_addr(|at| at | ROOM | FREE),
            owns: PhantomData,
        }
    }

    /// Whether it has room of its own.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.at.addr() & ROOM != 0
    }

    /// Whether there is a value.
    #[inline]
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.at.addr() & FREE == 0
    }

    /// Where the value is, if there is one, or the room.
    #[inline(always)]
    fn place(&self) -> *mut T {
        self.at.map_addr(|at| at & !MARKS)
    }

    /// The value.
    #[inline(always)]
    #[must_use]
    pub fn as_ref(&self) -> Option<&T> {
        // SAFETY: where there is a value, it is at that place, and borrowed as the seat is.
        self.is_some().then(|| unsafe { &*self.place() })
    }

    /// The value.
    #[inline(always)]
    #[must_use]
    pub fn as_mut(&mut self) -> Option<&mut T> {
        // SAFETY: as above.
        self.is_some().then(|| unsafe { &mut *self.place() })
    }

    /// The value, made now if there is none.
    pub fn get_or_insert_with(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if !self.is_some() {
            self.set(Some(make()));
        }
        // SAFETY: there is one.
        unsafe { &mut *self.place() }
    }

    /// Has that value from now on, or none. The room stays its own.
    pub fn set(&mut self, value: Option<T>) {
        drop(self.take());
        match value {
            Some(value) if self.has_room() => {
                // SAFETY: the room is its own, and free.
                unsafe { self.place().write(value) };
                self.at = self.at.map_addr(|at| at & !FREE);
            }
            Some(value) => self.at = Box::into_raw(Box::new(value)),
            None => {}
        }
    }

    /// Gives the value away.
    pub fn take(&mut self) -> Option<T> {
        if !self.is_some() {
            return None;
        }
        let place = self.place();
        if self.has_room() {
            self.at = self.at.map_addr(|at| at | FREE);
            // SAFETY: there is a value in the room, which counts as free from now on.
            Some(unsafe { place.read() })
        } else {
            self.at = ptr::without_provenance_mut(FREE);
            // SAFETY: without a mark it is that of a box, which nobody else has.
            Some(*unsafe { Box::from_raw(place) })
        }
    }

    /// Whatever it points to, value on the heap or room, lies elsewhere now, with the same bytes: `to` tells where.
    ///
    /// # Safety
    /// `to` must give a place as good as the one it is given: an allocation of its own for a value on the heap, room for room.
    pub unsafe fn moved(&mut self, to: impl FnOnce(*mut T) -> *mut T) {
        if self.has_room() || self.is_some() {
            let marks = self.at.addr() & MARKS;
            self.at = to(self.place()).map_addr(|at| at | marks);
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        if self.is_some() {
            if self.has_room() {
                // SAFETY: there is a value in the room, and nobody looks at it again.
                unsafe { ptr::drop_in_place(self.place()) };
            } else {
                // SAFETY: without a mark it is that of a box, which nobody else has.
                drop(unsafe { Box::from_raw(self.place()) });
            }
        }
    }
}

impl<T> Default for Seat<T> {
    fn default() -> Self {
        Self::none()
    }
}

/// On the heap: the room is the other's.
impl<T> From<T> for Seat<T> {
    fn from(value: T) -> Self {
        Self::from(Some(value))
    }
}

impl<T> From<Option<T>> for Seat<T> {
    fn from(value: Option<T>) -> Self {
        let mut seat = Self::none();
        seat.set(value);
        seat
    }
}

/// The value alone, on the heap.
impl<T: Clone> Clone for Seat<T> {
    fn clone(&self) -> Self {
        self.as_ref().cloned().into()
    }
}

/// Where they are does not matter.
impl<T: PartialEq> PartialEq for Seat<T> {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl<T: fmt::Debug> fmt::Debug for Seat<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(to)
    }
}

#[cfg(test)]
mod tests;
