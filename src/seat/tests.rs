#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::mem::MaybeUninit;
use std::rc::Rc;

use super::Seat;

/// Room for one, on the heap. No box, which would be the only one to refer to it.
struct Room(*mut MaybeUninit<Rc<u64>>);

impl Room {
    fn new() -> Self {
        Self(Box::into_raw(Box::new(MaybeUninit::uninit())))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: it was a box, and is freed once. What is in it, is its seat's.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// An owner with room.
struct Owner {
    seat: Seat<Rc<u64>>,
    room: Room,
}

impl Owner {
    fn new() -> Self {
        let room = Room::new();
        // SAFETY: the room is on the heap, and goes after the seat: fields are dropped in order.
        let seat = unsafe { Seat::with_room(room.0) };
        Self { seat, room }
    }
}

#[test]
fn a_seat_without_room_is_a_box() {
    let mut seat = Seat::none();
    assert!(!seat.is_some() && !seat.has_room());
    assert_eq!(seat.as_ref(), None);
    assert_eq!(seat.take(), None);
    let value = Rc::new(7_u64);
    assert_eq!(**seat.get_or_insert_with(|| Rc::clone(&value)), 7);
    let other = seat.clone();
    assert_eq!(
        (seat.as_ref(), Rc::strong_count(&value)),
        (other.as_ref(), 3)
    );
    seat.set(None);
    assert_eq!((seat.is_some(), Rc::strong_count(&value)), (false, 2));
    drop(other);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_seat_with_room_has_its_value_there_each_time() {
    let (value, mut owner) = (Rc::new(7_u64), Owner::new());
    assert!(owner.seat.has_room() && !owner.seat.is_some());
    for _ in 0..3 {
        owner.seat.set(Some(Rc::clone(&value)));
        assert_eq!(Rc::strong_count(&value), 2);
        let at = std::ptr::from_ref(owner.seat.as_ref().unwrap());
        assert_eq!(at.addr(), owner.room.0.addr());
        assert_eq!(owner.seat.take().as_deref(), Some(&7));
        assert!(owner.seat.has_room() && owner.seat.as_mut().is_none());
        assert_eq!(Rc::strong_count(&value), 1);
    }
}

#[test]
fn what_is_in_the_room_goes_with_the_seat_and_a_clone_is_on_its_own() {
    let (value, mut owner) = (Rc::new(7_u64), Owner::new());
    owner.seat.set(Some(Rc::clone(&value)));
    let copy = owner.seat.clone();
    assert!(!copy.has_room() && copy == owner.seat);
    drop(owner);
    assert_eq!((copy.as_ref(), Rc::strong_count(&value)), (Some(&value), 2));
}

#[test]
fn room_that_was_moved_is_found_where_it_is() {
    let (value, mut owner) = (Rc::new(7_u64), Owner::new());
    owner.seat.set(Some(Rc::clone(&value)));
    // As a server does that moves memory: the same bytes elsewhere, and the old place gone.
    let elsewhere = Room::new();
    // SAFETY: both are room for one, and the old one is not looked at again.
    unsafe {
        std::ptr::copy_nonoverlapping(owner.room.0, elsewhere.0, 1);
        owner.seat.moved(|_| elsewhere.0.cast());
    }
    owner.room = elsewhere;
    assert_eq!(owner.seat.as_ref(), Some(&value));
    drop(owner);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn it_is_as_large_as_a_pointer() {
    assert_eq!(size_of::<Seat<u64>>(), size_of::<*const u64>());
}
