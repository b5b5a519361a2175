//! Pages of a room in memory.

use std::collections::BTreeMap;

use super::room::Room;
use crate::{
    ids::{Seq, UserId},
    protocol::{Event, EventBody, HistoryFrom, Reactions},
    rights::{Actor, role_in_room},
    store::{NoPage, Page, PageQuery},
};

impl Room {
    pub(super) fn page(&self, query: &PageQuery) -> Result<Page, NoPage> {
        let end = query.reader.as_ref().map_or(Ok(None), |reader| self.right_ends(reader))?;
        let past = end.unwrap_or(self.record.last_seq).next();
        let (mut events, more) = match query.from {
            HistoryFrom::After(seq) => cut(self.events.range(seq.next().min(past)..past), query),
            HistoryFrom::Before(seq) => cut(self.events.range(..seq.min(past)).rev(), query),
            HistoryFrom::Newest => cut(self.events.range(..past).rev(), query),
        };
        if !matches!(query.from, HistoryFrom::After(_)) {
            events.reverse();
        }
        if let Some(reader) = &query.reader {
            for event in &mut events {
                self.add_reactions(event, &reader.user);
            }
        }
        Ok(Page { events, more, first_seq: self.record.first_seq, last_seq: self.record.last_seq, end })
    }

    /// Where the reader's right ended; `None` where it has not.
    fn right_ends(&self, reader: &Actor) -> Result<Option<Seq>, NoPage> {
        match role_in_room(self.record.visibility, self.standing(&reader.user), reader.authority) {
            Some(_) => Ok(None),
            None => self.lost(&reader.user).map(Some).ok_or(NoPage::Unreadable),
        }
    }

    fn add_reactions(&self, event: &mut Event, reader: &UserId) {
        let EventBody::Message(message) = &mut event.body else { return };
        let mut by_emoji = BTreeMap::<&str, (u64, bool)>::new();
        for ((emoji, user), last) in self.reactions.get(&event.seq).into_iter().flatten() {
            if !last.removed {
                let (count, me) = by_emoji.entry(emoji).or_default();
                *count += 1;
                *me |= user == reader;
            }
        }
        let reactions = by_emoji.into_iter();
        message.reactions =
            reactions.map(|(emoji, (count, me))| Reactions { emoji: emoji.into(), count, me }).collect();
    }
}

/// The first events of the kinds asked for that fit into the page, and whether another one would follow.
fn cut<'a>(timeline: impl Iterator<Item = (&'a Seq, &'a Event)>, query: &PageQuery) -> (Vec<Event>, bool) {
    let wanted = |event: &&Event| query.kinds.is_empty() || query.kinds.contains(&event.body.kind());
    let (mut events, mut bytes) = (Vec::new(), 0);
    for event in timeline.map(|(_, event)| event).filter(wanted) {
        bytes += event.body.weight_bytes();
        if events.len() >= query.limit || (bytes > query.bytes && !events.is_empty()) {
            return (events, true);
        }
        events.push(event.clone());
    }
    (events, false)
}
