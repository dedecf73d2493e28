//! A cache: values by name, which forgets what there is no room for.
//!
//! It is set-associative: a name's tag says in which two lines of three places its value may be, both in one page of memory, so that
//! a look touches one line of the processor's cache or two. A value goes to the first while there is room, and where neither
//! has any, one of the first line is moved to the other where it may be (Pagh and Rodler 2001, in buckets). It holds no names. Two names are told apart by 64 bits that depend on numbers drawn when it is made: for a
//! million names the chance that any two are taken for one another is 3e-8.
//!
//! With each value it keeps whose turn came next (`succession`), to tell who is likely to be asked for next.
//!
//! It grows without a pause: what it held before moves over a few lines at a time, and until then takes its room too.

use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::num::NonZeroU64;

use foldhash::fast::RandomState;

use crate::succession::Next;

/// Places of a line.
const PLACES: usize = 3;
/// Places are numbered as if a line had so many.
const NUMBERED: usize = 4;
/// Bytes of a page of memory, the least that it takes.
pub const PAGE: usize = 4096;
/// Lines of a page. There are so many, or a multiple of that.
const OF_PAGE: usize = PAGE / size_of::<Line>();
/// Lines that move over with each look while it grows.
const STEP: usize = 4;
/// One in so many values takes the place of one that is not old.
const PATIENCE: u32 = 16;

/// What a name is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(NonZeroU64);

/// The tags of its places, 0 where one is free, then their values, then whose turns came next, two in a word. Zeros, so that room for many costs
/// nothing to make.
pub type Line = [u64; 8];
/// Where the last of these begin.
const NEXT: usize = 2 * PLACES;

/// A value, and the number of its place; one beyond all places where it is yet to move there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was put in.
    pub value: u64,
    /// Where it lies, until another value is put in or forgotten.
    pub place: usize,
}

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    hasher: RandomState,
    lines: Vec<Line>,
    /// What it held before it grew, and how many lines of that have moved over.
    old: Vec<Line>,
    moved: usize,
    /// Values that there was no room for.
    refused: u32,
    /// The place that had its turn last.
    last: usize,
}

impl Cache {
    /// What a name in a space of names is found by.
    #[inline(always)]
    #[must_use]
    pub fn tag(&self, space: i32, name: &[u8]) -> Tag {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_i32(space);
        Tag(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MAX))
    }

    /// The value put in last for that name, unless it was forgotten.
    #[inline(always)]
    pub fn get(&mut self, tag: Tag) -> Option<Found> {
        let found = found(&self.lines, tag);
        if self.old.is_empty() {
            return found;
        }
        let before = self.move_over(tag);
        found.or(before)
    }

    /// The value at a place, 0 if there is none.
    #[inline(always)]
    #[must_use]
    pub fn at(&self, place: usize) -> u64 {
        let value = || self.line_of(place)?.get(PLACES + place % NUMBERED);
        value().copied().unwrap_or(0)
    }

    /// Where in memory that place is.
    #[inline(always)]
    #[must_use]
    pub fn line_of(&self, place: usize) -> Option<&Line> {
        self.lines.get(place / NUMBERED)
    }

    /// Notes that it is the turn of a place, and tells which one is likely to have the next.
    #[inline(always)]
    pub fn turn(&mut self, place: usize) -> Option<usize> {
        let last = self.last;
        if let Some(line) = self.lines.get_mut(last / NUMBERED) {
            set_next(line, last, next(line, last).came(place));
        }
        self.last = place;
        self.after(place)
    }

    /// Which place is likely to have its turn after that one.
    #[inline(always)]
    #[must_use]
    pub fn after(&self, place: usize) -> Option<usize> {
        next(self.line_of(place)?, place).likely()
    }

    /// As [`Self::get`], but looks only where new values go, and moves nothing.
    #[must_use]
    pub fn peek(&self, tag: Tag) -> Option<u64> {
        found(&self.lines, tag).map(|found| found.value)
    }

    /// Where in memory a look for that name begins.
    #[must_use]
    pub fn line(&self, tag: Tag) -> Option<&Line> {
        let [first, _] = lines_of(tag, self.lines.len());
        self.lines.get(first)
    }

    /// Puts in a value. Where there is only room for it instead of one that is not `old`, it mostly is not: of more names than there is
    /// room for, asked for in turn, each would otherwise be gone before its turn comes. It may take as much memory as `most` bytes;
    /// one page it takes in any case.
    pub fn put(&mut self, tag: Tag, value: u64, most: usize, old: impl Fn(u64) -> bool) {
        self.grow(most / size_of::<Line>());
        forget(&mut self.old, tag);
        if !put(&mut self.lines, tag, value, old) {
            self.refused = self.refused.wrapping_add(1);
            if self.refused.is_multiple_of(PATIENCE) {
                put(&mut self.lines, tag, value, |_| true);
            }
        }
        if !self.old.is_empty() {
            self.move_over(tag);
        }
    }

    /// Forgets the value of a name.
    pub fn forget(&mut self, tag: Tag) {
        forget(&mut self.lines, tag);
        forget(&mut self.old, tag);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.lines, self.old, self.moved) = (Vec::new(), Vec::new(), 0);
    }

    /// Gives its memory back, and with it all values, where that is more than a page and twice the most it may be now.
    pub fn fit(&mut self, most: usize) {
        if self.lines.len() > OF_PAGE && self.lines.len() * size_of::<Line>() / 2 > most {
            self.clear();
        }
    }

    /// All values, some of them twice.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        let lines = self.lines.iter().chain(&self.old);
        lines
            .flat_map(places)
            .filter(|(tag, _)| **tag != 0)
            .map(|(_, value)| *value)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.lines.capacity() + self.old.capacity()) * size_of::<Line>()
    }

    /// To so many lines, or a little fewer, as allocators have sizes for; at least a page.
    fn grow(&mut self, most: usize) {
        let now = self.lines.len();
        if most <= now && now > 0 || !self.old.is_empty() {
            return;
        }
        let most = most.max(OF_PAGE);
        let step = OF_PAGE.max(1 << (most.ilog2() - 2));
        let most = most / step * step;
        if most > now {
            self.old = mem::replace(&mut self.lines, vec![[0; 8]; most]);
            self.moved = 0;
        }
    }

    /// A few lines more, and tells what was at a name before it grew.
    #[cold]
    fn move_over(&mut self, tag: Tag) -> Option<Found> {
        let found = found(&self.old, tag).map(|found| Found {
            place: usize::MAX,
            ..found
        });
        for line in self.old.iter().skip(self.moved).take(STEP) {
            for (tag, value) in places(line) {
                if let Some(tag) = NonZeroU64::new(*tag).map(Tag) {
                    put(&mut self.lines, tag, *value, |_| false);
                }
            }
        }
        self.moved += STEP;
        if self.moved >= self.old.len() {
            self.old = Vec::new();
        }
        found
    }
}

/// Where among so many lines a tag may be: in one that its upper bits choose, or in one of the same page that its lower bits do.
fn lines_of(tag: Tag, lines: usize) -> [usize; 2] {
    let tag = tag.0.get();
    let first = ((u128::from(tag) * lines as u128) >> 64) as usize;
    let apart = 1 + tag as usize % (OF_PAGE - 1);
    [first, first ^ apart]
}

fn places(line: &Line) -> impl Iterator<Item = (&u64, &u64)> {
    let (tags, values) = line.split_at(PLACES);
    tags.iter().zip(values.iter().take(PLACES))
}

fn places_mut(line: &mut Line) -> impl Iterator<Item = (&mut u64, &mut u64)> {
    let (tags, values) = line.split_at_mut(PLACES);
    tags.iter_mut().zip(values.iter_mut().take(PLACES))
}

/// Whose turn came after that of a place of this line.
#[inline(always)]
fn next(line: &Line, place: usize) -> Next {
    let (word, shift) = next_at(place);
    Next(line.get(word).map_or(0, |word| (word >> shift) as u32))
}

#[inline(always)]
fn set_next(line: &mut Line, place: usize, next: Next) {
    let (word, shift) = next_at(place);
    if let Some(word) = line.get_mut(word) {
        *word = *word & !(u64::from(u32::MAX) << shift) | u64::from(next.0) << shift;
    }
}

/// The word of a line that it is in, and the bit where it begins.
#[inline(always)]
fn next_at(place: usize) -> (usize, u32) {
    let place = place % NUMBERED;
    (NEXT + place / 2, (place % 2) as u32 * u32::BITS)
}

#[inline(always)]
fn found(lines: &[Line], tag: Tag) -> Option<Found> {
    let [first, second] = lines_of(tag, lines.len());
    found_in(lines, first, tag).or_else(|| found_in(lines, second, tag))
}

/// Looks at all places at once: which one it is, a processor cannot guess.
#[inline(always)]
fn found_in(lines: &[Line], at: usize, tag: Tag) -> Option<Found> {
    let [a, b, c, values @ .., _, _] = lines.get(at)?;
    let is = |of: &u64| u32::from(*of == tag.0.get());
    let here = is(a) | is(b) << 1 | is(c) << 2;
    let here = here.trailing_zeros() as usize;
    values.get(here).map(|value| Found {
        value: *value,
        place: at * NUMBERED + here,
    })
}

fn forget(lines: &mut [Line], tag: Tag) {
    for at in lines_of(tag, lines.len()) {
        places_mut(lines.get_mut(at).unwrap_or(&mut [0; 8]))
            .filter(|(of, _)| **of == tag.0.get())
            .for_each(|(of, value)| (*of, *value) = (0, 0));
    }
}

/// In the place of that name, in a free one of its first line, of its second, instead of an old one, or where one of the first line
/// has been that its own other line has room for; whether there is one. In the first line it is found sooner.
fn put(lines: &mut [Line], tag: Tag, value: u64, old: impl Fn(u64) -> bool) -> bool {
    let (ours, tag) = (lines_of(tag, lines.len()), tag.0.get());
    let any = |is: &dyn Fn(u64, u64) -> bool| {
        ours.into_iter().find_map(|at| {
            let place = places(lines.get(at)?).position(|(of, value)| is(*of, *value))?;
            Some((at, place))
        })
    };
    let place = any(&|of, _| of == tag)
        .or_else(|| any(&|of, _| of == 0))
        .or_else(|| any(&|_, value| old(value)))
        .or_else(|| make_room(lines, ours[0]));
    let place = place.and_then(|(at, place)| Some((lines.get_mut(at)?, place)));
    let Some((line, place)) = place else {
        return false;
    };
    if places(line).nth(place).is_none_or(|(of, _)| *of != tag) {
        set_next(line, place, Next::default());
    }
    if let Some((of, is)) = places_mut(line).nth(place) {
        (*of, *is) = (tag, value);
    }
    true
}

/// Moves one of a line's values to the other line where it may be, if there is a free place in that; the place it leaves.
fn make_room(lines: &mut [Line], at: usize) -> Option<(usize, usize)> {
    for place in 0..PLACES {
        let (tag, value) = places(lines.get(at)?).nth(place)?;
        let (tag, value) = (Tag(NonZeroU64::new(*tag)?), *value);
        let [first, second] = lines_of(tag, lines.len());
        let (next, other) = (next(lines.get(at)?, place), first ^ second ^ at);
        let other = lines.get_mut(other)?;
        let free = places(other).position(|(of, _)| *of == 0);
        if let Some(free) = free {
            // Who comes after it comes after it there too.
            set_next(other, free, next);
            let (of, is) = places_mut(other).nth(free)?;
            (*of, *is) = (tag.0.get(), value);
            return Some((at, place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_tells_what_was_put_in_last_or_nothing(
            steps in prop::collection::vec((0u8..4, 0u16..300, 0usize..9_000), 1..500),
        ) {
            let (mut cache, mut truth) = (Cache::default(), HashMap::new());
            for (value, (what, name, most)) in (1u64..).zip(steps) {
                let tag = cache.tag(0, &name.to_le_bytes());
                match what {
                    0 => {
                        cache.forget(tag);
                        truth.remove(&name);
                    }
                    _ if name == 299 => {
                        cache.clear();
                        truth.clear();
                    }
                    _ => {
                        cache.put(tag, value, most, |value| value % 3 > 0);
                        truth.insert(name, value);
                    }
                }
                let known: Vec<u64> = cache.values().collect();
                prop_assert!(known.iter().all(|value| truth.values().any(|is| is == value)));
                for (name, value) in &truth {
                    let tag = cache.tag(0, &name.to_le_bytes());
                    let found = cache.get(tag);
                    prop_assert!(found.is_none_or(|found| found.value == *value));
                    let there = found.map_or(0, |found| cache.at(found.place));
                    prop_assert!(there == 0 || there == *value);
                }
            }
        }
    }

    /// Room for a quarter more than there are.
    fn filled(names: u64) -> Cache {
        let mut cache = Cache::default();
        for turn in 1..=2 {
            for name in 0..names {
                let there = if turn == 1 { name } else { names };
                cache.put(
                    cache.tag(0, &name.to_le_bytes()),
                    name,
                    there as usize * 32,
                    |_| false,
                );
            }
        }
        cache
    }

    #[test]
    fn with_more_places_than_names_nearly_all_are_found() {
        for names in [1_000, 3_200, 50_000] {
            let mut cache = filled(names);
            let tags: Vec<Tag> = (0..names)
                .map(|name| cache.tag(0, &name.to_le_bytes()))
                .collect();
            let sooner = |tag: &&Tag| {
                let [first, _] = lines_of(**tag, cache.lines.len());
                found_in(&cache.lines, first, **tag).is_some()
            };
            let first = tags.iter().filter(sooner).count();
            let found = (0..)
                .zip(&tags)
                .filter(|(name, tag)| cache.get(**tag).map(|found| found.value) == Some(*name));
            let (found, names) = (found.count(), names as usize);
            assert!(found * 100 > names * 93, "{found} of {names}");
            assert!(
                first * 100 > names * 70,
                "{first} of {names} in their first line"
            );
            assert!(cache.bytes() <= names * 32, "{}", cache.bytes());
        }
    }

    #[test]
    fn names_asked_for_in_the_same_order_are_told_ahead() {
        let (names, mut cache) = (1_000_u64, filled(1_000));
        for round in 0..4 {
            let mut right = 0;
            let mut likely = None;
            for name in 0..names {
                // A step that meets all of them, in another order than that in which they were put in.
                let name = name * 377 % names;
                let Some(found) = cache.get(cache.tag(0, &name.to_le_bytes())) else {
                    continue;
                };
                right += usize::from(likely == Some(found.place));
                assert!(cache.line_of(found.place).is_some());
                likely = cache.turn(found.place);
            }
            let enough = if round < 2 { 0..50 } else { 900..1_000 };
            assert!(enough.contains(&right), "{right} in round {round}");
        }
    }

    #[test]
    fn who_makes_room_for_another_is_still_followed_by_whoever_was() {
        let mut cache = Cache::default();
        let put = |cache: &mut Cache, name: u64| {
            let tag = cache.tag(0, &name.to_le_bytes());
            cache.put(tag, name + 1, 1, |_| false);
            tag
        };
        let tags: Vec<Tag> = (0..150).map(|name| put(&mut cache, name)).collect();
        let places = |cache: &mut Cache| -> Vec<Option<usize>> {
            let place = |tag| cache.get(tag).map(|found| found.place);
            tags.iter().copied().map(place).collect()
        };
        let before = places(&mut cache);
        for _ in 0..3 {
            before.iter().flatten().for_each(|place| {
                cache.turn(*place);
            });
        }
        let after = |cache: &Cache, place: Option<usize>| place.map(|place| cache.after(place));
        let followed: Vec<_> = before.iter().map(|place| after(&cache, *place)).collect();
        // As many as there are places.
        (150..(OF_PAGE * PLACES) as u64).for_each(|name| {
            put(&mut cache, name);
        });
        let mut made_room = 0;
        for (at, now) in places(&mut cache).into_iter().enumerate() {
            // One may have been given up.
            if now.is_some() {
                made_room += usize::from(now != before[at]);
                assert_eq!(after(&cache, now), followed[at]);
            }
        }
        assert!(made_room > 0);
    }

    #[test]
    fn who_takes_the_place_of_another_does_not_take_over_who_came_after_it() {
        let mut cache = Cache::default();
        let tags = [0u64, 1].map(|name| cache.tag(0, &name.to_le_bytes()));
        tags.iter()
            .for_each(|tag| cache.put(*tag, 7, 10_000, |_| false));
        let [one, two] = tags.map(|tag| cache.get(tag).map(|found| found.place));
        let (Some(one), Some(two)) = (one, two) else {
            panic!("there is room for two");
        };
        for place in [one, two, one, two, one] {
            cache.turn(place);
        }
        assert_eq!(cache.after(one), Some(two));
        // Seen from the first tag's place, which is free now.
        cache.forget(tags[0]);
        let mut name = 2u64;
        while cache.at(one) == 0 {
            cache.put(cache.tag(0, &name.to_le_bytes()), 7, 10_000, |_| false);
            name += 1;
        }
        assert_eq!(cache.after(one), None);
    }

    #[test]
    fn it_takes_no_more_memory_than_it_may() {
        let mut cache = Cache::default();
        for name in 0..100_000u64 {
            cache.put(cache.tag(0, &name.to_le_bytes()), name, 100_000, |_| true);
        }
        assert!(cache.bytes() <= 100_000, "{}", cache.bytes());
        assert_eq!(
            Cache::default().bytes(),
            0,
            "nothing before there is a value"
        );
    }

    #[test]
    fn it_gives_its_memory_back_when_it_may_have_less_than_half() {
        let mut cache = filled(1_000);
        cache.fit(cache.bytes() / 2);
        assert!(cache.values().count() > 900);
        cache.fit(cache.bytes() / 2 - 1);
        assert_eq!((cache.bytes(), cache.values().count()), (0, 0));
        cache.fit(0);
    }

    #[test]
    fn the_same_name_in_another_space_is_another() {
        let mut cache = Cache::default();
        cache.put(cache.tag(0, b"a"), 1, 10_000, |_| false);
        let tags = [0, 1].map(|space| cache.tag(space, b"a"));
        let values = tags.map(|tag| cache.get(tag).map(|found| found.value));
        assert_eq!(values, [Some(1), None]);
    }
}
