//! A room with odd texts wherever there are texts, which is the same when its database is opened again.

use chat_core::{
    Draft,
    ids::{RoomId, RoomNo, Seq},
    protocol::{Event, EventBody, Json, RoomPatch},
    rights::Authority,
    store::{Change, ReadMark, RoomView, Store},
};

use crate::rooms::{change, commit, message, room, timeline, user};

const ODD: &str =
    "NUL \0, \u{202e}turned\u{202c}, 'quoted', \"\\\", \r\n\t\u{1b}[31m, \u{fffd}\u{10ffff}🎈\0";

/// The room, and how it was when it was made.
pub(crate) struct Kept {
    no: RoomNo,
    timeline: Vec<Event>,
    view: Option<RoomView>,
}

async fn view(store: &impl Store) -> Option<RoomView> {
    store.room(RoomId::new("r").unwrap(), user("bob")).await.unwrap()
}

impl Kept {
    pub(crate) async fn make(store: &impl Store) -> Self {
        let no = room(store, "r").await;
        let json = || Json::parse("{ \"a\" : \"\\u0000 \u{202e}turned\u{202c}\" }").unwrap();
        commit(store, change(no, Change::Message(Draft::text(ODD).key(ODD).meta(json())))).await;
        commit(store, change(no, Change::React { target: Seq(2), emoji: ODD.into(), remove: false })).await;
        commit(store, change(no, Change::Edit { target: Seq(2), text: format!("{ODD}!").into() })).await;
        let (name, topic) = (Some(ODD.into()), Some(format!("{ODD}?").into()));
        let patch = RoomPatch { name, topic, state: Some(json()), ..RoomPatch::default() };
        let mut change_of_room = change(no, Change::Room(patch));
        // A state is only for the embedding service.
        change_of_room.actor.authority = Authority::Host;
        commit(store, change_of_room).await;
        store.save_read_marks(vec![ReadMark { room: no, user: user("bob"), seq: Seq(1) }]).await.unwrap();
        Self { no, timeline: timeline(store, no).await, view: view(store).await }
    }

    /// Everything is as it was. This leaves a message behind.
    pub(crate) async fn assert_in(&self, store: &impl Store) {
        let (timeline, view) = (timeline(store, self.no).await, view(store).await);
        assert_eq!((&timeline, &view), (&self.timeline, &self.view));
        let EventBody::Message(message_now) = &timeline[1].body else { panic!("{timeline:?}") };
        assert_eq!(message_now.text.as_deref(), Some(format!("{ODD}!").as_str()));
        assert_eq!(*message_now.reactions[0].emoji, *ODD);
        let view = view.unwrap();
        assert_eq!((&*view.room.name, view.read, view.unread), (ODD, Seq(1), 1));
        let again = Change::Message(Draft::text("again").key(ODD));
        assert_eq!(commit(store, change(self.no, again)).await, Seq(2));
        assert_eq!(commit(store, message(self.no, "next")).await, Seq(6));
    }
}
