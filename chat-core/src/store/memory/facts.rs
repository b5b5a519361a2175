//! What the rules ask, looked up in the maps.

use std::convert::Infallible;

use super::Data;
use crate::{
    ids::{RoomNo, Seq, Timestamp, UserId},
    protocol::RoomPatch,
    rights::Standing,
    store::judge::{Facts, MessageFacts, ReactionFacts, RoomFacts, news},
};

impl Facts for Data {
    type Error = Infallible;

    fn room(&mut self, room: RoomNo) -> Result<Option<RoomFacts>, Infallible> {
        Ok(self.rooms.get(&room).map(|room| RoomFacts {
            id: room.record.id.clone(),
            visibility: room.record.visibility,
            version: room.record.version,
            first_seq: room.record.first_seq,
            last_seq: room.record.last_seq,
        }))
    }

    fn standing(&mut self, room: RoomNo, user: &UserId) -> Result<Standing, Infallible> {
        Ok(self.rooms.get(&room).map(|room| room.standing(user)).unwrap_or_default())
    }

    fn key(
        &mut self,
        room: RoomNo,
        author: &UserId,
        key: &str,
    ) -> Result<Option<(Seq, Timestamp)>, Infallible> {
        Ok(self.rooms.get(&room).and_then(|room| room.key(author, key)))
    }

    fn message(&mut self, room: RoomNo, seq: Seq) -> Result<Option<MessageFacts>, Infallible> {
        Ok(self.rooms.get(&room).and_then(|room| room.message(seq)))
    }

    fn reaction(
        &mut self,
        room: RoomNo,
        target: Seq,
        user: &UserId,
        emoji: &str,
    ) -> Result<Option<ReactionFacts>, Infallible> {
        Ok(self.rooms.get(&room).and_then(|room| room.reaction(target, user, emoji)))
    }

    fn other_emojis(&mut self, room: RoomNo, target: Seq, emoji: &str) -> Result<usize, Infallible> {
        Ok(self.rooms.get(&room).map_or(0, |room| room.other_emojis(target, emoji)))
    }

    fn news(&mut self, room: RoomNo, patch: &RoomPatch) -> Result<RoomPatch, Infallible> {
        let today = self.rooms.get(&room).map(|room| RoomPatch {
            name: Some(room.record.name.clone()),
            topic: Some(room.record.topic.clone()),
            visibility: Some(room.record.visibility),
            state: room.record.state.clone(),
        });
        Ok(news(patch, &today.unwrap_or_default()))
    }
}
