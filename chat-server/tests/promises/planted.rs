//! The checker is itself tested: a sound log is green, and each fault that is planted in one place of a thousand turns
//! it red.

use super::checker::{End, Fault, Log, Outcome, Place, Reading, Timelines, Try};

const ROOM: &str = "r";
const SENDERS: u64 = 5;
const EVENTS: u64 = 5000;
/// Where a fault is planted: in the reach of every reading.
const PLANTED: usize = 3000;
/// The last number that `out` may get.
const LAST_OF_OUT: u64 = 4000;

fn place(seq: u64) -> Place {
    let from = format!("user{}", seq % SENDERS);
    Place { seq, at: 1000 + seq / 3, from, key: Some(format!("key{seq}")) }
}

fn attempt(place: &Place, outcome: Outcome) -> Try {
    let key = place.key.clone().unwrap();
    Try { who: place.from.clone(), room: ROOM.to_owned(), key, outcome }
}

fn reading(who: &str, after: u64, last: u64) -> Reading {
    let places = (after + 1..=last).map(place).collect();
    Reading { who: who.to_owned(), room: ROOM.to_owned(), after, places }
}

/// What a sound server leaves: acks of each kind, a reading from the start, one from the middle, one that ended early,
/// one of a sender, and one of a user who was removed.
fn sound() -> (Log, Timelines) {
    let timeline: Vec<Place> = (1..=EVENTS).map(place).collect();
    let mut log = Log::default();
    for place in &timeline {
        let Place { seq, at, .. } = *place;
        if seq % 10 == 0 {
            log.tries.push(attempt(place, Outcome::Unknown));
        }
        if seq % 100 != 0 {
            log.tries.push(attempt(place, Outcome::New { seq, at }));
        }
        if seq % 20 == 0 {
            log.tries.push(attempt(place, Outcome::Duplicate { seq, at }));
        }
    }
    log.tries.push(attempt(&place(EVENTS + 1), Outcome::Refused));
    log.tries.push(attempt(&place(EVENTS + 2), Outcome::Unknown));
    log.readings = vec![
        reading("bob", 0, EVENTS),
        reading("cat", 2500, EVENTS),
        reading("dan", 0, 3500),
        reading("user1", 0, EVENTS),
        reading("out", 0, LAST_OF_OUT),
    ];
    log.ends = vec![End { who: "out".to_owned(), room: ROOM.to_owned(), seq: LAST_OF_OUT }];
    (log, Timelines::from([(ROOM.to_owned(), timeline)]))
}

/// The faults that are found after `plant`, each once.
fn found(plant: impl FnOnce(&mut Log, &mut Vec<Place>)) -> Vec<Fault> {
    let (mut log, mut timelines) = sound();
    plant(&mut log, timelines.get_mut(ROOM).unwrap());
    let mut faults: Vec<Fault> = log.findings(&timelines).iter().map(|finding| finding.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    faults
}

/// Numbers a timeline anew, as a store would that never had what is missing.
fn renumber(timeline: &mut [Place]) {
    timeline.iter_mut().zip(1..).for_each(|(place, seq)| place.seq = seq);
}

#[test]
fn a_sound_log_is_green() {
    assert_eq!(found(|_, _| {}), []);
    let (log, timelines) = sound();
    log.assert_sound(&timelines);
    let open = ("user2".to_owned(), ROOM.to_owned(), format!("key{}", EVENTS + 2));
    assert_eq!(log.unsettled(), [open]);
}

#[test]
fn a_store_that_drops_one_in_a_thousand_is_red() {
    let faults = found(|_, timeline| {
        timeline.retain(|place| place.seq % 1000 != 1);
        renumber(timeline);
    });
    assert_eq!(faults, [Fault::Lost, Fault::Phantom]);
    assert_eq!(
        found(|_, timeline| timeline.retain(|place| place.seq % 1000 != 1))[1..],
        [Fault::Phantom, Fault::Gap]
    );
    // Also where nobody but the sender ever knew of it.
    let faults = found(|log, timeline| {
        log.readings.clear();
        timeline.pop();
    });
    assert_eq!(faults, [Fault::Lost]);
}

#[test]
fn a_store_that_keeps_one_in_a_thousand_twice_is_red() {
    let faults = found(|log, timeline| {
        log.readings.clear();
        timeline.push(timeline[PLANTED].clone());
        renumber(timeline);
    });
    assert_eq!(faults, [Fault::Doubled]);
}

#[test]
fn a_store_that_swaps_two_is_red() {
    let faults = found(|_, timeline| {
        timeline.swap(PLANTED, PLANTED + 1);
        renumber(timeline);
    });
    assert_eq!(faults, [Fault::Lost, Fault::Phantom]);
}

#[test]
fn a_store_that_keeps_what_nobody_said_or_what_was_refused_is_red() {
    let nobody = found(|_, timeline| timeline.push(Place { key: Some("other".into()), ..place(EVENTS + 1) }));
    assert_eq!(nobody, [Fault::Phantom]);
    let refused = found(|_, timeline| timeline.push(place(EVENTS + 1)));
    assert_eq!(refused, [Fault::Phantom]);
    let unknown = found(|_, timeline| timeline.push(Place { seq: EVENTS + 1, ..place(EVENTS + 2) }));
    assert_eq!(unknown, [], "what nobody knows of may be there");
}

#[test]
fn an_ack_of_what_is_absent_or_elsewhere_is_red() {
    let beyond = place(EVENTS + 3);
    let acks = |outcome: Outcome| found(|log, _| log.tries.push(attempt(&beyond, outcome)));
    assert_eq!(acks(Outcome::New { seq: EVENTS + 3, at: beyond.at }), [Fault::Lost]);
    assert_eq!(acks(Outcome::Duplicate { seq: 7, at: beyond.at }), [Fault::Lost]);
    let kept = place(PLANTED as u64);
    let again = |outcome: Outcome| found(|log, _| log.tries.push(attempt(&kept, outcome)));
    assert_eq!(again(Outcome::Duplicate { seq: kept.seq, at: kept.at }), []);
    assert_eq!(again(Outcome::Duplicate { seq: kept.seq, at: kept.at + 1 }), [Fault::Lost], "another time");
    assert_eq!(again(Outcome::Duplicate { seq: kept.seq + 1, at: kept.at }), [Fault::Lost]);
    assert_eq!(again(Outcome::Refused), [], "one try may be refused, and another not");
}

#[test]
fn a_key_that_is_new_twice_is_red() {
    let Place { seq, at, .. } = place(PLANTED as u64 + 1);
    let faults = found(|log, _| log.tries.push(attempt(&place(seq), Outcome::New { seq, at })));
    assert_eq!(faults, [Fault::Doubled]);
}

#[test]
fn a_reading_that_misses_doubles_swaps_or_invents_one_is_red() {
    for reader in 0..5 {
        let planted = |plant: fn(&mut Vec<Place>, usize)| {
            found(|log, _| {
                let reading = &mut log.readings[reader];
                let index = PLANTED - usize::try_from(reading.after).unwrap();
                plant(&mut reading.places, index);
            })
        };
        assert_eq!(planted(|places, at| drop(places.remove(at))), [Fault::Gap]);
        assert_eq!(planted(|places, at| places.insert(at, places[at].clone())), [Fault::Doubled]);
        let swapped = planted(|places, at| places.swap(at, at + 1));
        assert_eq!(swapped, [Fault::OutOfOrder, Fault::Gap]);
        assert_eq!(planted(|places, at| places[at].key = Some("other".into())), [Fault::Phantom]);
        assert_eq!(planted(|places, at| places[at].from = "eve".into()), [Fault::Phantom]);
        assert_eq!(planted(|places, at| places[at].at += 1), [Fault::Phantom]);
    }
    let first = found(|log, _| drop(log.readings[1].places.remove(0)));
    assert_eq!(first, [Fault::Gap], "also right after the join");
}

#[test]
fn an_event_that_was_shown_and_is_not_kept_is_red() {
    let faults = found(|log, _| log.readings[0].places.push(place(EVENTS + 1)));
    assert_eq!(faults, [Fault::Phantom]);
}

#[test]
fn an_event_after_the_end_of_the_right_to_read_is_red() {
    let faults = found(|log, _| log.readings[4].places.push(place(LAST_OF_OUT + 1)));
    assert_eq!(faults, [Fault::Leaked]);
}
