//! A naive reading of a timeline: every question goes through all that was ever committed.

use crate::{
    ids::{Seq, UserId},
    protocol::{Event, EventBody, HistoryFrom, Message, Reactions},
    store::PageQuery,
};

/// All events of a room as they were committed, in order of numbers.
pub(super) struct Timeline<'a>(pub(super) &'a [Event]);

impl Timeline<'_> {
    /// What a page holds, and whether there is more, where events before `first` are trimmed and the reader's right
    /// ended at `end`.
    pub(super) fn page(&self, query: &PageQuery, first: Seq, end: Option<Seq>) -> (Vec<Event>, bool) {
        let reader = query.reader.as_ref().map(|reader| &reader.user);
        let mut events: Vec<Event> = self.0.iter().map(|event| self.now(event, reader)).collect();
        events.retain(|event| event.seq >= first && end.is_none_or(|end| event.seq <= end));
        events.retain(|event| query.kinds.is_empty() || query.kinds.contains(&event.body.kind()));
        match query.from {
            HistoryFrom::After(seq) => events.retain(|event| event.seq > seq),
            HistoryFrom::Before(seq) => events.retain(|event| event.seq < seq),
            HistoryFrom::Newest => {}
        }
        let down = !matches!(query.from, HistoryFrom::After(_));
        if down {
            events.reverse();
        }
        let fit =
            (1..=events.len().min(query.limit)).rev().find(|&n| n == 1 || bytes(&events[..n]) <= query.bytes);
        let fit = fit.unwrap_or(0);
        let more = fit < events.len();
        events.truncate(fit);
        if down {
            events.reverse();
        }
        (events, more)
    }

    /// An event as it now is.
    fn now(&self, event: &Event, reader: Option<&UserId>) -> Event {
        let mut event = event.clone();
        match &mut event.body {
            EventBody::Message(message) => self.message_now(message, event.seq, reader),
            EventBody::Edited { target, text } if self.is_deleted(*target) => *text = None,
            _ => {}
        }
        event
    }

    fn message_now(&self, message: &mut Message, seq: Seq, reader: Option<&UserId>) {
        for event in self.0 {
            if let EventBody::Edited { target, text } = &event.body
                && *target == seq
            {
                message.text.clone_from(text);
                message.edited_at = Some(event.at);
            }
        }
        if self.is_deleted(seq) {
            message.text = None;
            message.meta = None;
            message.edited_at = None;
        } else if let Some(reader) = reader {
            message.reactions = self.reactions(seq, reader);
        }
    }

    fn is_deleted(&self, message: Seq) -> bool {
        self.0.iter().any(|event| matches!(event.body, EventBody::Deleted { target } if target == message))
    }

    fn reactions(&self, message: Seq, reader: &UserId) -> Vec<Reactions> {
        let mut standing: Vec<(&str, &UserId)> = Vec::new();
        for event in self.0 {
            if let EventBody::Reaction { target, emoji, remove } = &event.body
                && *target == message
            {
                standing.retain(|one| *one != (&**emoji, &event.from));
                if !remove {
                    standing.push((&**emoji, &event.from));
                }
            }
        }
        let mut emojis: Vec<&str> = standing.iter().map(|(emoji, _)| *emoji).collect();
        emojis.sort_unstable_by_key(|emoji| emoji.as_bytes());
        emojis.dedup();
        let of = |emoji: &str| Reactions {
            emoji: emoji.into(),
            count: standing.iter().filter(|(other, _)| *other == emoji).count() as u64,
            me: standing.contains(&(emoji, reader)),
        };
        emojis.into_iter().map(of).collect()
    }
}

fn bytes(events: &[Event]) -> usize {
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let bytes = |event: &Event| match &event.body {
        EventBody::Message(message) => {
            text(&message.text) + message.meta.as_ref().map_or(0, |meta| meta.as_str().len())
        }
        EventBody::Edited { text: edited, .. } => text(edited),
        _ => 0,
    };
    events.iter().map(bytes).sum()
}
