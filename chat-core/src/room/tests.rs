//! What a room tells, and whom it waits for.

use super::*;
use crate::{
    bell::{Attention, LaneNo},
    ids::Timestamp,
    limits::Gathering,
    protocol::Message,
    store::{RoomKind, RoomRecord},
};

const MS: Duration = Duration::from_millis(1);

/// A room in which everything is told at once.
struct House {
    room: Room,
    attention: Arc<Attention>,
}

fn view() -> RoomView {
    let room = RoomRecord {
        no: RoomNo(1),
        id: RoomId::new("r").unwrap(),
        epoch: Epoch::from_random(1),
        kind: RoomKind::Group,
        visibility: Visibility::Public,
        name: "r".into(),
        topic: "".into(),
        state: None,
        version: 0,
        first_seq: Seq(1),
        last_seq: Seq(0),
    };
    RoomView { room, standing: Standing::Outsider, read: Seq(0), unread: 0 }
}

impl House {
    fn new(tail_bytes: usize) -> Self {
        let gathering = Gathering { max: Duration::ZERO, ..Gathering::default() };
        let limits = Limits { tail_bytes, gathering, ..Limits::default() };
        Self { room: Room::new(&view(), &limits, &Relief::new()), attention: Arc::default() }
    }

    fn enter(&mut self, conn: u32) {
        let stir = Stir::new(self.attention.clone(), LaneNo(conn));
        let user = UserId::new(&format!("u{conn}")).unwrap();
        self.room.attach(Duration::ZERO, ConnId(conn.into()), &user, &view(), stir).unwrap();
    }

    fn say(&mut self, at: Duration, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            let body =
                EventBody::Message(Message { text: Some("x".repeat(100).into()), ..Message::default() });
            let (room, from) = (RoomId::new("r").unwrap(), UserId::new("zoe").unwrap());
            let event = Event { room, seq: Seq(seq), at: Timestamp(1), from, body };
            self.room.handle_committed(at, at, [Arc::new(event)]);
        }
        self.room.wake_due(at);
    }

    fn look(&mut self, now: Duration, conn: u64, position: u64) -> Look {
        let reader = Reader {
            now,
            conn: ConnId(conn),
            position: Seq(position),
            replay_until: Seq(0),
            heard: u64::MAX,
        };
        self.room.look(&reader, &mut Vec::new())
    }
}

#[test]
fn what_has_gathered_is_found_in_one_piece() {
    let mut house = House::new(1 << 20);
    house.enter(1);
    house.say(MS, 1..=9);
    let block = house.look(MS, 1, 0).block.unwrap();
    assert_eq!((block.first(), block.last()), (Seq(1), Seq(9)));
}

#[test]
fn a_tail_is_longer_where_very_many_read_it() {
    let found = |people: u32| {
        let mut house = House::new(10_000);
        (0..people).for_each(|conn| house.enter(conn));
        (1..=200).for_each(|seq| house.say(MS, seq..=seq));
        house.look(MS, 0, 100).found
    };
    assert_eq!((found(1), found(2000)), (Found::Behind, Found::Live));
}

#[test]
fn a_delivery_is_over_when_the_last_live_reader_has_it() {
    let mut house = House::new(1 << 20);
    (1..=2).for_each(|conn| house.enter(conn));
    house.say(MS, 1..=2);
    assert_eq!(house.look(MS * 2, 1, 0).delivered, []);
    assert_eq!(house.look(MS * 9, 2, 0).delivered, [MS]);
    house.say(MS * 20, 3..=3);
    house.look(MS * 20, 1, 2);
    assert_eq!(house.room.detach(MS * 21, ConnId(2)), [MS * 20], "who goes is not waited for");
}

#[test]
fn who_catches_up_ends_no_delivery() {
    let mut house = House::new(3 * 356);
    (1..=2).for_each(|conn| house.enter(conn));
    for seq in 1..=8 {
        house.say(MS, seq..=seq);
        house.look(MS, 1, seq - 1);
    }
    assert_eq!(house.look(MS, 2, 0).found, Found::Behind);
    house.say(MS * 10, 9..=9);
    assert_eq!(house.look(MS * 11, 2, 9).delivered, [], "it has read a page up to there");
    assert_eq!(house.look(MS * 500, 1, 8).delivered, [MS * 10]);
}

#[test]
fn who_stands_still_hides_no_delivery() {
    let mut house = House::new(1 << 20);
    (1..=2).for_each(|conn| house.enter(conn));
    let mut told = 0;
    for seq in 1..=1000 {
        house.say(MS, seq..=seq);
        told += house.look(MS, 1, seq - 1).delivered.len();
    }
    assert_eq!(told, 999, "all but the one that it was waited for in");
}

#[test]
fn talk_is_no_delivery() {
    let mut house = House::new(1 << 20);
    (1..=2).for_each(|conn| house.enter(conn));
    house.say(MS, 1..=1);
    house.look(MS, 1, 0);
    for second in 1..=5 {
        house.room.typing(Duration::from_secs(2 * second), ConnId(1));
    }
    assert_eq!(house.look(Duration::from_secs(20), 2, 0).delivered, [MS]);
}

#[test]
fn a_reader_ahead_of_the_tail_is_told_of_what_goes_live() {
    let mut house = House::new(1 << 20);
    house.enter(1);
    house.look(MS, 1, 5);
    house.say(MS, 1..=1);
    assert!(house.attention.take_stirred().is_some());
}
