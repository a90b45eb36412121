#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::disk::Disk;
use super::*;
use crate::rng::Rng;
use crate::serf::{LamportTime, UserEvent};

const SEED: u64 = 99;

fn event(number: u64, bytes: usize) -> Event {
    Event::User(UserEvent {
        ltime: LamportTime(number),
        name: format!("e{number}").into_bytes(),
        payload: vec![b'x'; bytes],
        coalesce: false,
    })
}

/// Reads back all pending events.
fn read_all(disk: &Disk, journal: &mut Journal) -> Vec<u64> {
    let Some(mut stored) = journal.stored() else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    while let Some(read) = journal.next_read(&stored) {
        let events = journal.handle_read(&mut stored, read, Some(disk.read(read)));
        numbers.extend(events.iter().map(|recorded| recorded.number));
    }
    assert_eq!(journal.give_up_unfound(&stored), 0);
    numbers
}

#[test]
fn what_is_not_finished_comes_back_in_order() {
    let mut rng = Rng::new(1);
    for _ in 0..20 {
        let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
        let mut waiting = Vec::new();
        for number in 1..2000 {
            let bytes = rng.below(1500);
            let taken = journal.take(&event(number, bytes), 7, false, vec![5]);
            waiting.push(taken.unwrap());
            if rng.chance(0.8) {
                let at = rng.below(waiting.len());
                journal.finished(waiting.remove(at));
            }
            if rng.chance(0.1) {
                disk.flush(&mut journal);
            }
        }
        disk.flush(&mut journal);
        assert_eq!(journal.len(), waiting.len());
        assert_eq!(
            journal.bytes(),
            disk.files.values().map(|f| f.len() as u64).sum::<u64>()
        );
        let (mut again, recovered) = disk.recover();
        assert_eq!((recovered.waiting, recovered.damaged), (waiting.len(), 0));
        assert_eq!(read_all(&disk, &mut again), waiting);
        // Loaded events are not returned again.
        assert_eq!(again.stored(), None);
        for number in waiting {
            again.finished(number);
        }
        disk.flush(&mut again);
        assert!(disk.files.len() <= 1, "only what is written to is left");
    }
}

#[test]
fn the_progress_of_runs_comes_back() {
    let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
    let first = journal.take(&event(1, 3), 7, false, vec![5, 6]).unwrap();
    let second = journal.take(&event(2, 3), 8, true, vec![5]).unwrap();
    let third = journal.take(&event(3, 3), 8, true, vec![5]).unwrap();
    let process = ProcessId {
        pid: 4,
        start_ticks: 5,
        boot: 6,
    };
    journal.describe(5, b"user=echo");
    journal.handed_over(third);
    journal.begun(first, 5, 1, 9);
    journal.process(first, 5, process);
    journal.done(first, 5);
    journal.begun(first, 6, 1, 10);
    journal.process(first, 6, process);
    disk.flush(&mut journal);
    let (_, recovered) = disk.recover();
    let begun = BegunRun {
        handler: 6,
        attempt: 1,
        process: Some(process),
    };
    let expected = RecordedProgress {
        postponed: Vec::new(),
        done: vec![5],
        begun: Some(begun),
    };
    assert_eq!(
        recovered.progress.iter().collect::<Vec<_>>(),
        [(&first, &expected)]
    );
    let coalescing: Vec<u64> = recovered.coalescing.iter().map(|r| r.number).collect();
    assert_eq!(coalescing, [second]);
    assert_eq!((recovered.waiting, recovered.seen.len()), (2, 3));
    // Events that an operator has dropped stay dropped after a restart.
    journal.drop_handler(6);
    disk.flush(&mut journal);
    let (again, _) = disk.recover();
    assert!(again.is_dropped(6, first) && !again.is_dropped(5, first));
}

#[test]
fn only_the_last_times_are_seen() {
    let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
    for time in 1..=2000 {
        let number = journal.take(&event(time, 0), 0, false, vec![1]).unwrap();
        // Finished events are remembered as long as their segment exists.
        if time % 2 == 0 {
            journal.finished(number);
        }
    }
    disk.flush(&mut journal);
    let times: Vec<u64> = disk.recover().1.seen.iter().map(|e| e.ltime.0).collect();
    assert_eq!(times, (1489..=2000).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_costs_what_is_on_its_way() {
    let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
    let kept = journal.take(&event(1, 10), 0, false, vec![1]).unwrap();
    let done = journal.take(&event(2, 10), 0, false, vec![1]).unwrap();
    disk.flush(&mut journal);
    disk.is_full = true;
    let lost = journal.take(&event(3, 10), 0, false, vec![1]).unwrap();
    journal.finished(done);
    disk.flush(&mut journal);
    assert!(journal.is_failing() && !journal.contains(lost) && journal.contains(kept));
    assert_eq!(journal.take(&event(4, 10), 0, false, vec![1]), None);
    journal.try_again();
    disk.flush(&mut journal);
    assert!(journal.is_failing());
    disk.is_full = false;
    journal.try_again();
    disk.flush(&mut journal);
    assert!(!journal.is_failing());
    let later = journal.take(&event(5, 10), 0, false, vec![1]).unwrap();
    disk.flush(&mut journal);
    let (mut again, _) = disk.recover();
    assert_eq!(
        read_all(&disk, &mut again),
        [kept, later],
        "the end of {done} was told late"
    );
}

#[test]
fn the_limit_holds_with_all_that_follows() {
    let settings = Settings {
        size_limit_bytes: 3 << 20,
    };
    let (mut journal, mut disk) = (Journal::new(settings, SEED), Disk::default());
    let mut numbers = Vec::new();
    let mut time = 0;
    loop {
        time += 1;
        match journal.take(&event(time, 200), 0, false, vec![1]) {
            Some(number) => numbers.push(number),
            None => break,
        }
        disk.flush(&mut journal);
    }
    assert!(numbers.len() > 1000);
    for number in numbers {
        journal.begun(number, 1, 1, 0);
        let process = ProcessId {
            pid: 1,
            start_ticks: 1,
            boot: 1,
        };
        journal.process(number, 1, process);
        journal.finished(number);
        disk.flush(&mut journal);
        assert!(journal.bytes() <= settings.size_limit_bytes);
    }
    assert!(journal.take(&event(1, 200), 0, false, vec![1]).is_some());
}

/// Truncated, overwritten and missing files: only events that were there come back, and most do.
#[test]
fn damaged_files_give_what_they_have() {
    let mut rng = Rng::new(8);
    for _ in 0..100 {
        let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
        for number in 1..600 {
            journal.take(&event(number, rng.below(2000)), 7, false, vec![5]);
        }
        disk.flush(&mut journal);
        let ids: Vec<SegmentId> = disk.files.keys().copied().collect();
        for id in &ids {
            let file = disk.files.get_mut(id).unwrap();
            match rng.below(4) {
                0 => file.truncate(rng.below(file.len())),
                1 => {
                    for _ in 0..rng.below(20) {
                        let at = rng.below(file.len());
                        file[at] = rng.next_u32() as u8;
                    }
                }
                2 => file.extend((0..rng.below(5000)).map(|_| 0xc0)),
                _ => {}
            }
        }
        let (mut again, recovered) = disk.recover();
        for (id, file) in &mut disk.files {
            let segment = again.segments.iter().find(|s| s.id == *id);
            file.truncate(segment.map_or(0, |s| s.bytes as usize));
        }
        let read = read_all(&disk, &mut again);
        assert_eq!(read.len(), recovered.waiting);
        assert!(read.is_sorted() && read.iter().all(|n| (1..600).contains(n)));
    }
}

#[test]
fn a_lost_segment_loses_its_own_events_alone() {
    let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
    for number in 1..3000 {
        journal.take(&event(number, 1000), 7, false, vec![5]);
    }
    disk.flush(&mut journal);
    let (mut again, recovered) = disk.recover();
    let lost = *disk.files.keys().nth(1).unwrap();
    let mut stored = again.stored().unwrap();
    let mut count = 0;
    while let Some(read) = again.next_read(&stored) {
        let file = disk
            .files
            .get(&read.segment)
            .filter(|_| read.segment != lost);
        let start = read.offset as usize;
        let bytes = file.map(|file| &file[start..start + read.bytes]);
        count += again.handle_read(&mut stored, read, bytes).len();
    }
    assert!(count < recovered.waiting && count > recovered.waiting / 3);
    assert_eq!(again.len(), count);
}

/// A record has the number of an event that never existed: no operation takes time proportional to the gap.
#[test]
fn a_number_far_beyond_the_others_costs_nothing() {
    let (mut journal, mut disk) = (Journal::new(Settings::default(), SEED), Disk::default());
    journal.take(&event(1, 10), 7, false, vec![5]);
    disk.flush(&mut journal);
    let (id, file) = disk.files.iter_mut().next().unwrap();
    Record::HandedOver(1 << 62).encode(id.salt, file.len() as u64, file);
    let (mut again, recovered) = disk.recover();
    assert_eq!((recovered.waiting, recovered.damaged), (1, 0));
    assert_eq!(again.waiting_below(1 << 62), 1);
    let mut stored = again.stored().unwrap();
    let read = again.next_read(&stored).unwrap();
    // The segment cannot be read, so all events in it are lost.
    again.handle_read(&mut stored, read, None);
    assert!(again.is_empty());
}
