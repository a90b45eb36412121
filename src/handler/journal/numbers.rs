//! Bit set of increasing, mostly consecutive numbers.

use std::collections::VecDeque;
use std::ops::Range;

/// Limit for the span of a set: two megabytes of bits. A journal of 64 MiB holds a million events.
const SPAN_MAX: u64 = 1 << 24;
const WORD_BITS: u64 = u64::BITS as u64;

/// A set of numbers: one bit for each, from about the lowest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::handler) struct Numbers {
    /// Number of the first bit; a multiple of 64.
    base: u64,
    words: VecDeque<u64>,
    count: usize,
}

impl Numbers {
    /// Adds a number. Returns `false`, without adding it, if the span would exceed [`SPAN_MAX`].
    pub(in crate::handler) fn insert(&mut self, number: u64) -> bool {
        if self.words.is_empty() {
            self.base = number - number % WORD_BITS;
        }
        let end = self
            .base
            .saturating_add(self.words.len() as u64 * WORD_BITS);
        if number.saturating_sub(self.base) >= SPAN_MAX || end.saturating_sub(number) > SPAN_MAX {
            return false;
        }
        while number < self.base {
            self.words.push_front(0);
            self.base -= WORD_BITS;
        }
        let words = usize::try_from((number - self.base) / WORD_BITS).unwrap_or(usize::MAX);
        if self.words.len() <= words {
            self.words.resize(words + 1, 0);
        }
        if let Some((word, bit)) = self.bit(number) {
            let is_new = *word & bit == 0;
            *word |= bit;
            self.count += usize::from(is_new);
        }
        true
    }

    /// Removes a number; returns whether it was there.
    pub(in crate::handler) fn remove(&mut self, number: u64) -> bool {
        let Some((word, bit)) = self.bit(number) else {
            return false;
        };
        let was_there = *word & bit != 0;
        *word &= !bit;
        self.count -= usize::from(was_there);
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.base += WORD_BITS;
        }
        was_there
    }

    /// Removes all numbers from `first` to `last`.
    pub(super) fn remove_range(&mut self, first: u64, last: u64) {
        let end = self
            .base
            .saturating_add(self.words.len() as u64 * WORD_BITS);
        for number in first.max(self.base)..=last.min(end) {
            self.remove(number);
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let word = number
            .checked_sub(self.base)
            .and_then(|offset| usize::try_from(offset / WORD_BITS).ok())
            .and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (number % WORD_BITS) & 1 == 1)
    }

    /// Returns the lowest number.
    pub(super) fn first(&self) -> Option<u64> {
        let at = self.words.iter().position(|&word| word != 0)?;
        let word = self.words.get(at)?;
        Some(self.base + at as u64 * WORD_BITS + u64::from(word.trailing_zeros()))
    }

    /// Returns the highest number.
    pub(super) fn last(&self) -> Option<u64> {
        let at = self.words.iter().rposition(|&word| word != 0)?;
        let word = self.words.get(at)?;
        Some(self.base + at as u64 * WORD_BITS + u64::from(63 - word.leading_zeros()))
    }

    /// Clips the range from `first` up to but not including `end` to the span of the set, so that it is never
    /// longer than [`SPAN_MAX`].
    pub(super) fn within(&self, first: u64, end: u64) -> Range<u64> {
        let span = self.words.len() as u64 * WORD_BITS;
        first.max(self.base)..end.min(self.base.saturating_add(span))
    }

    /// Returns how many numbers the set has.
    pub(in crate::handler) fn len(&self) -> usize {
        self.count
    }

    fn bit(&mut self, number: u64) -> Option<(&mut u64, u64)> {
        let offset = number.checked_sub(self.base)?;
        let at = usize::try_from(offset / WORD_BITS).ok()?;
        Some((self.words.get_mut(at)?, 1 << (number % WORD_BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_is_like_any_other() {
        let mut rng = Rng::new(7);
        let (mut set, mut model) = (Numbers::default(), BTreeSet::new());
        let mut lowest = 1000;
        for _ in 0..20_000 {
            let number = lowest + rng.below(500) as u64;
            match rng.below(4) {
                0 => assert_eq!(set.remove(number), model.remove(&number)),
                1 => {
                    let last = number + rng.below(20) as u64;
                    set.remove_range(number, last);
                    model.retain(|&n| n < number || n > last);
                }
                _ => {
                    assert!(set.insert(number));
                    model.insert(number);
                }
            }
            lowest += rng.below(3) as u64;
            assert_eq!(set.contains(number), model.contains(&number));
            assert_eq!(set.first(), model.first().copied());
            assert_eq!(set.last(), model.last().copied());
            assert_eq!(set.len(), model.len());
        }
    }

    #[test]
    fn a_part_is_no_longer_than_the_span() {
        let mut set = Numbers::default();
        assert_eq!(set.within(0, u64::MAX).count(), 0);
        for number in [70, 75, 700] {
            set.insert(number);
        }
        let found = |first, end| {
            let part = set.within(first, end);
            assert!(part.clone().count() <= 700);
            part.filter(|&number| set.contains(number)).count()
        };
        assert_eq!(found(0, u64::MAX), 3);
        assert_eq!((found(71, 700), found(70, 701), found(75, 75)), (1, 3, 0));
        assert_eq!(
            (found(0, 70), found(701, u64::MAX), found(80, 9)),
            (0, 0, 0)
        );
    }

    #[test]
    fn the_span_is_bounded() {
        let mut set = Numbers::default();
        assert!(set.insert(100));
        assert!(set.insert(100 + SPAN_MAX / 2));
        assert!(!set.insert(1 << 60));
        assert!(set.insert(5) && set.first() == Some(5));
        set.remove_range(0, u64::MAX);
        assert_eq!((set.len(), set.first()), (0, None));
        assert!(set.insert(1 << 60));
    }
}
