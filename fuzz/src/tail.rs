//! The live end of a room, and a script of what happens to it.

mod model;
mod timeline;

use chat_core::{
    Codec, Limits, Seq,
    ids::ConnId,
    protocol::EventBody,
    store::{Page, RoomView},
    testing::{LiveRoom, Sight, Source},
};
use serde_json::Value;

use self::{
    model::{Expected, Model},
    timeline::Timeline,
};
use crate::{fields::Fields, frame::payloads};

/// Lines that count, and so events too: an input costs some milliseconds at most.
const LINES_MAX: usize = 120;

/// Plays the bytes as a script on a room, and on a plain list of events, and compares what readers find.
///
/// The first line is `tail_bytes|visibility|events` of the room as it comes into memory. Each line after it is a step:
///
/// | line | step |
/// |---|---|
/// | `say\|user\|text\|meta`, `edit\|user\|target\|text`, `delete\|user\|target`, `react\|user\|target\|emoji` | the store commits it |
/// | `add\|user`, `remove\|user`, `ban\|user`, `public`, `private`, `topic\|text` | likewise |
/// | `tell` | the room is told what was committed since, as one batch |
/// | `lose\|number` | so many events of that are never told |
/// | `again\|seq` | what was told from this one on is told again |
/// | `end` | it is told where the store ends |
/// | `page\|number` | the page that it wants is read, so many events at most |
/// | `fill` | and arrives |
/// | `trim\|seq` | the store drops what is before this event |
/// | `view\|user` | the user's rights are read, for the next `enter` or `renew` |
/// | `enter\|conn\|user`, `renew\|conn`, `leave\|conn` | a connection comes, has its rights read again, goes |
/// | `read\|conn\|position\|replay_until\|bytes` | it reads |
/// | `close` | the room is deleted |
///
/// # Panics
/// Where a reader finds something else than the list says, or is not told that there is something.
pub fn tail(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut lines = script.split('\n').take(LINES_MAX);
    let mut stage = Stage::set(lines.next().unwrap_or_default());
    for line in lines {
        stage.play(line);
    }
    stage.read_everywhere();
}

struct Stage {
    room: LiveRoom,
    model: Model,
    timeline: Timeline,
    /// The page that is on its way.
    page: Option<Page>,
    /// Rights that were read, and whose.
    view: Option<(String, RoomView)>,
}

impl Stage {
    fn set(line: &str) -> Self {
        let mut fields = Fields::of(line);
        let mut limits = Limits::default();
        limits.tail_bytes = usize::try_from(fields.number()).unwrap_or(usize::MAX);
        let timeline = Timeline::new(&fields.text(), fields.number());
        let nobody = timeline.view("nobody");
        Self {
            room: LiveRoom::new(&nobody, &limits),
            model: Model::new(limits.tail_bytes, timeline.last()),
            timeline,
            page: None,
            view: None,
        }
    }

    fn play(&mut self, line: &str) {
        let mut fields = Fields::of(line);
        let from = &mut fields;
        match &*from.text() {
            "tell" => {
                let events = self.timeline.tell();
                self.model.commit(&events, &self.timeline);
                self.room.commit(events);
            }
            "lose" => self.timeline.lose(from.number()),
            "again" => {
                let events = self.timeline.told_from(from.number());
                self.model.commit(&events, &self.timeline);
                self.room.commit(events);
            }
            "end" => {
                self.model.see_end(self.timeline.last());
                self.room.see_end(Seq(self.timeline.last()));
            }
            "page" => self.read_page(from.number()),
            "fill" => self.fill(),
            "trim" => self.timeline.trim(from.number()),
            "view" => {
                let user = from.text().into_string();
                let view = self.timeline.view(&user);
                self.view = Some((user, view));
            }
            "enter" => self.enter(from.number(), &from.text()),
            "renew" => self.renew(from.number()),
            "leave" => self.leave(from.number()),
            "read" => {
                let (conn, position, replay) = (from.number(), from.number(), from.number());
                self.read(conn, (position, replay), from.number());
            }
            "close" => {
                self.model.close();
                self.room.close();
            }
            kind => self.timeline.commit(kind, from),
        }
        self.model.listed(self.room.stirred().iter().map(|conn| conn.0));
    }

    fn read_page(&mut self, limit: u64) {
        let wanted = self.room.wants_page();
        assert_eq!(wanted.map(|after| after.0), self.model.wants_page(), "the page that it wants");
        if let Some(after) = wanted {
            self.page = Some(self.timeline.page(after.0, limit));
        }
    }

    fn fill(&mut self) {
        if let Some(page) = self.page.take() {
            self.model.fill(&page, &self.timeline);
            self.room.fill(page);
        }
    }

    fn view_of(&mut self, user: &str) -> RoomView {
        let read = self.view.take().filter(|(whose, _)| whose == user);
        read.map_or_else(|| self.timeline.view(user), |(_, view)| view)
    }

    fn enter(&mut self, conn: u64, user: &str) {
        let view = self.view_of(user);
        let Ok(user) = user.try_into() else { return };
        // The engine lets nobody in whom the store does not.
        if self.model.is_in(conn) || !timeline::allows(&view) {
            return;
        }
        let live = self.room.enter(ConnId(conn), &user, &view).map(|last| last.0);
        assert_eq!(live, self.model.enter(conn, &user, view.room.last_seq.0), "where live begins for {user}");
    }

    fn renew(&mut self, conn: u64) {
        let Some(user) = self.model.unsure(conn) else { return };
        let view = self.view_of(&user);
        if timeline::allows(&view) {
            self.model.renew(conn, view.room.last_seq.0);
            self.room.renew(ConnId(conn), &view);
        } else {
            self.leave(conn);
        }
    }

    fn leave(&mut self, conn: u64) {
        self.model.leave(conn);
        self.room.leave(ConnId(conn));
    }

    fn read(&mut self, conn: u64, (position, replay): (u64, u64), bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        for codec in Codec::ALL {
            let sight = self.room.read(ConnId(conn), (Seq(position), Seq(replay)), bytes, codec);
            if self.model.unsure(conn).is_some() && sight.end.is_some() {
                self.model.end_unsure(conn, sight.end, &self.timeline);
                continue;
            }
            let expected = self.model.read(conn, (position, replay), bytes);
            check(&sight, &expected, (position, codec));
        }
        self.model.looked(conn);
    }

    /// Every connection and one that is not there, from everywhere: one block, and all there is.
    fn read_everywhere(&mut self) {
        let last = self.model.live() + 1;
        for conn in self.model.connections().chain([u64::MAX]).collect::<Vec<_>>() {
            for position in 0..=last {
                self.read(conn, (position, 0), 1);
                self.read(conn, (position, last / 2), u64::from(position % 8 == 0) * 100_000);
            }
        }
    }
}

fn check(sight: &Sight, expected: &Expected<'_>, (position, codec): (u64, Codec)) {
    assert_eq!((sight.source, sight.end), (expected.source, expected.end), "after {position}");
    let (mut found, mut frames) = (Vec::new(), 0);
    for payload in payloads(&sight.frames) {
        frames += 1;
        match (codec, serde_json::from_slice(payload).expect("the payload is JSON")) {
            (Codec::Single, object) => found.push(object),
            (Codec::Batch, Value::Array(objects)) => found.extend(objects),
            (Codec::Batch, other) => panic!("no batch: {other}"),
        }
    }
    let wanted: Vec<Value> = expected
        .blocks
        .iter()
        .flat_map(|block| block.iter().map(|event| serde_json::to_value(event).expect("an event is JSON")))
        .collect();
    assert_eq!(found, wanted, "after {position}");
    let wanted_frames = match codec {
        Codec::Single => wanted.len(),
        Codec::Batch => expected.arrays,
    };
    assert_eq!(frames, wanted_frames, "a frame for each event, or for each array under batch");
    let events = || expected.blocks.iter().copied().flatten();
    assert_eq!(sight.position.0, events().last().map_or(position, |event| event.seq.0));
    let is_message = |body: &EventBody| matches!(body, EventBody::Message(_));
    assert_eq!(sight.messages, events().filter(|event| is_message(&event.body)).count());
    assert!(sight.source == Source::Tail || frames == 0, "frames without a source");
}
