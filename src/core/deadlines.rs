//! What is due when: things that are to be looked at once their time has come.
//!
//! A thing is put in when its first deadline is known, and looked at when that has passed; whoever looks puts the deadline
//! off to what it has become in the meantime. So what pushes a deadline ahead, a reading, costs nothing here, and what is not
//! due is never visited.

use std::collections::BTreeSet;

use crate::units::Timestamp;

/// Things in a block: one that is full stays where it is, so that of a million things none waits for all others to be moved.
const BLOCK: usize = 1024;

/// Things with a deadline each, known by a number that is never 0.
#[derive(Debug)]
pub struct Deadlines<T> {
    blocks: Vec<Vec<Slot<T>>>,
    /// The number that was given back last, or 0.
    free: u32,
    order: BTreeSet<(Timestamp, u32)>,
}

#[derive(Debug)]
enum Slot<T> {
    Due(Timestamp, T),
    /// The number that was given back before this one, or 0.
    Free(u32),
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: 0,
            order: BTreeSet::new(),
        }
    }
}

/// Block and place in it of a number.
fn place(number: u32) -> Option<(usize, usize)> {
    let at = (number as usize).checked_sub(1)?;
    Some((at / BLOCK, at % BLOCK))
}

impl<T> Deadlines<T> {
    fn slot(&self, number: u32) -> Option<&Slot<T>> {
        let (block, at) = place(number)?;
        self.blocks.get(block)?.get(at)
    }

    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot<T>> {
        let (block, at) = place(number)?;
        self.blocks.get_mut(block)?.get_mut(at)
    }

    /// The number that comes after all that were ever given.
    fn next(&self) -> u32 {
        let last = self.blocks.last().map_or(BLOCK, Vec::len);
        let given = self.blocks.len() * BLOCK + last - BLOCK;
        u32::try_from(given + 1).unwrap_or(u32::MAX)
    }

    /// How many things there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Puts a thing in; its number.
    pub fn add(&mut self, due: Timestamp, thing: T) -> u32 {
        let again = self.free;
        let number = match self.slot_mut(again) {
            Some(slot) => {
                if let Slot::Free(before) = std::mem::replace(slot, Slot::Due(due, thing)) {
                    self.free = before;
                }
                again
            }
            None => {
                let number = self.next();
                if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                    self.blocks.push(Vec::with_capacity(BLOCK));
                }
                if let Some(block) = self.blocks.last_mut() {
                    block.push(Slot::Due(due, thing));
                }
                number
            }
        };
        self.order.insert((due, number));
        number
    }

    /// The thing of that number.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&T> {
        match self.slot(number)? {
            Slot::Due(_, thing) => Some(thing),
            Slot::Free(_) => None,
        }
    }

    /// The thing of that number, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slot_mut(number)? {
            Slot::Due(_, thing) => Some(thing),
            Slot::Free(_) => None,
        }
    }

    /// Gives a thing another deadline.
    pub fn put_off(&mut self, number: u32, due: Timestamp) {
        if let Some(Slot::Due(at, _)) = self.slot_mut(number) {
            let before = std::mem::replace(at, due);
            self.order.remove(&(before, number));
            self.order.insert((due, number));
        }
    }

    /// Takes a thing out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let before = self.free;
        let slot = self.slot_mut(number)?;
        if let Slot::Free(_) = slot {
            return None;
        }
        let Slot::Due(due, thing) = std::mem::replace(slot, Slot::Free(before)) else {
            return None;
        };
        self.free = number;
        self.order.remove(&(due, number));
        Some(thing)
    }

    /// The earliest deadline and the number of its thing.
    #[must_use]
    pub fn first(&self) -> Option<(Timestamp, u32)> {
        self.order.first().copied()
    }

    /// Takes out all that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for number in 1..self.next() {
            if self.get(number).is_some_and(|thing| !keep(thing)) {
                self.remove(number);
            }
        }
    }

    /// All things, to be changed.
    pub fn things_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let slots = self.blocks.iter_mut().flatten();
        slots.filter_map(|slot| match slot {
            Slot::Due(_, thing) => Some(thing),
            Slot::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn the_earliest_comes_first_whatever_the_order_of_coming_in() {
        let mut all = Deadlines::default();
        for due in [500, 100, 300, 100] {
            all.add(at(due), due);
        }
        let mut met = vec![];
        while let Some((due, number)) = all.first() {
            met.push((due.millis(), all.remove(number).unwrap()));
        }
        assert_eq!(met, [(100, 100), (100, 100), (300, 300), (500, 500)]);
        assert!(all.is_empty());
    }

    #[test]
    fn what_is_put_off_comes_later_and_keeps_its_number() {
        let mut all = Deadlines::default();
        let (a, b) = (all.add(at(100), "a"), all.add(at(200), "b"));
        all.put_off(a, at(300));
        assert_eq!(all.first(), Some((at(200), b)));
        assert_eq!(
            (all.len(), all.get(a), all.get(b)),
            (2, Some(&"a"), Some(&"b"))
        );
    }

    #[test]
    fn numbers_are_used_again_and_unknown_ones_do_nothing() {
        let mut all = Deadlines::default();
        let a = all.add(at(100), "a");
        assert!(a > 0);
        assert_eq!((all.remove(a), all.remove(a)), (Some("a"), None));
        assert_eq!(all.add(at(5), "b"), a);
        all.put_off(0, at(1));
        all.put_off(99, at(1));
        assert_eq!(
            (all.get(0), all.get(99), all.first()),
            (None, None, Some((at(5), a)))
        );
    }
    #[test]
    fn what_is_in_stays_where_it_is_however_many_come_after() {
        let mut all = Deadlines::default();
        let first = all.add(at(1), 1);
        let place = std::ptr::from_ref(all.get(first).unwrap());
        let more: Vec<u32> = (2..5000).map(|due| all.add(at(due), due)).collect();
        assert_eq!(place, std::ptr::from_ref(all.get(first).unwrap()));
        assert_eq!((all.len(), more.last()), (4999, Some(&4999)));
        all.retain(|due| due % 2 == 0);
        assert_eq!((all.len(), all.first()), (2499, Some((at(2), 2))));
        let again: Vec<u32> = (0..2500).map(|due| all.add(at(due), due)).collect();
        assert!(again.iter().all(|number| number % 2 == 1 && *number < 5000));
        assert_eq!((all.len(), all.things_mut().count()), (4999, 4999));
        assert_eq!(all.add(at(9), 9), 5000);
    }
}
