//! Progress of events that are only on disk.

use super::Course;
use crate::handler::journal::{HandlerKey, Numbers};
use crate::ordered::OrderedMap;

/// Events that a handler's lane has taken and that have no other progress: one bit per event.
#[derive(Debug)]
struct Taken {
    key: HandlerKey,
    /// See [`Course::newest_id`].
    newest_id: u64,
    numbers: Numbers,
}

#[derive(Debug, Default)]
pub(super) struct Courses {
    by_number: OrderedMap<u64, Box<Course>>,
    taken: Vec<Taken>,
}

impl Courses {
    /// Stores the progress of an event that leaves memory.
    pub(super) fn insert(&mut self, number: u64, course: Box<Course>) {
        let is_noted = course.is_only_taken()
            && course.taken.iter().all(|key| {
                let is_it = |t: &Taken| t.key == *key && t.newest_id == course.newest_id;
                let at = self.taken.iter().position(is_it).unwrap_or_else(|| {
                    self.taken.push(Taken {
                        key: *key,
                        newest_id: course.newest_id,
                        numbers: Numbers::default(),
                    });
                    self.taken.len() - 1
                });
                let taken = self.taken.get_mut(at);
                taken.is_some_and(|taken| taken.numbers.insert(number))
            });
        if !is_noted {
            self.by_number.insert(number, course);
        }
    }

    /// Removes and returns the progress of an event that is read back.
    pub(super) fn remove(&mut self, number: u64) -> Option<Box<Course>> {
        let mut course = self.by_number.remove(&number);
        for taken in &mut self.taken {
            if taken.numbers.remove(number) {
                let course = course.get_or_insert_default();
                course.taken.push(taken.key);
                course.newest_id = course.newest_id.max(taken.newest_id);
            }
        }
        self.taken.retain(|taken| taken.numbers.len() > 0);
        course
    }

    /// Returns whether a run for the event had begun when the agent ended.
    pub(super) fn was_begun(&self, number: u64) -> bool {
        let course = self.by_number.get(&number);
        course.is_some_and(|course| course.begun.is_some())
    }

    /// Excludes handlers with numbers above `newest_id` from all events that a handler's lane has taken.
    pub(super) fn close(&mut self, key: HandlerKey, newest_id: u64) {
        let courses = &mut self.by_number;
        courses.for_each_mut(|_, course| course.close(key, newest_id));
        for taken in self.taken.iter_mut().filter(|taken| taken.key == key) {
            taken.newest_id = newest_id;
        }
    }

    /// Notes that a handler's lane no longer has an event. Returns whether the event is only on disk.
    pub(super) fn release(&mut self, number: u64, key: HandlerKey) -> bool {
        for taken in self.taken.iter_mut().filter(|taken| taken.key == key) {
            if taken.numbers.remove(number) {
                let course = self.by_number.get_or_insert_with(number, Box::default);
                course.newest_id = taken.newest_id;
            }
        }
        let Some(course) = self.by_number.get_mut(&number) else {
            return false;
        };
        course.taken.retain(|other| *other != key);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}
