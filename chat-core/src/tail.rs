//! The live end of a timeline: the newest events, encoded once for everybody.
//!
//! A reader holds a number, not a queue: it asks for what comes after its position, and copies bytes that it shares with
//! all others. What the tail no longer holds is read from the store.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{
    ids::Seq,
    protocol::{
        Codec, Event, EventBody, Message, RoomPatch,
        codec::{put_array, put_frame, put_json},
    },
};

/// Bytes that an event takes beside its text, about: for the bound of the tail.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 256;

/// Events that were committed together: one dense run, encoded at most once per codec. Readers share it.
#[derive(Debug)]
pub(crate) struct Block {
    events: Box<[Arc<Event>]>,
    messages: usize,
    encoded: [OnceLock<Encoded>; Codec::ALL.len()],
}

/// The frames of a block under one codec.
#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    /// Where each event's frame ends; empty where the events share one frame.
    ends: Box<[usize]>,
}

impl Block {
    fn new(events: Box<[Arc<Event>]>) -> Self {
        let messages = events.iter().filter(|event| matches!(event.body, EventBody::Message(_))).count();
        Self { events, messages, encoded: Default::default() }
    }

    /// The events, in order of numbers.
    pub(crate) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// How many of the events are messages.
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    /// The number of the first event.
    pub(crate) fn first(&self) -> Seq {
        self.events.first().map_or(Seq::ZERO, |event| event.seq)
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> Seq {
        self.events.last().map_or(Seq::ZERO, |event| event.seq)
    }

    /// All events as whole frames. Under [`Codec::Batch`] they are one frame.
    pub(crate) fn frames(&self, codec: Codec) -> Bytes {
        self.encoded(codec).bytes.clone()
    }

    /// One event as a frame of its own, where the codec gives it one.
    pub(crate) fn frame(&self, codec: Codec, index: usize) -> Option<&[u8]> {
        let Encoded { bytes, ends } = self.encoded(codec);
        let start = if index == 0 { 0 } else { *ends.get(index - 1)? };
        bytes.get(start..*ends.get(index)?)
    }

    fn encoded(&self, codec: Codec) -> &Encoded {
        let slot = match codec {
            Codec::Single => &self.encoded[0],
            Codec::Batch => &self.encoded[1],
        };
        slot.get_or_init(|| self.encode(codec))
    }

    fn encode(&self, codec: Codec) -> Encoded {
        let mut out = Vec::with_capacity(self.weight_bytes());
        let mut ends = Vec::new();
        match codec {
            Codec::Single => {
                for event in &self.events {
                    put_frame(&mut out, |out| put_json(out, event));
                    ends.push(out.len());
                }
            }
            Codec::Batch => put_frame(&mut out, |out| put_array(out, &self.events)),
        }
        out.shrink_to_fit();
        Encoded { bytes: out.into(), ends: ends.into() }
    }

    fn weight_bytes(&self) -> usize {
        let text = |event: &Arc<Event>| match &event.body {
            EventBody::Message(Message { text, meta, .. }) => {
                text.as_ref().map_or(0, |text| text.len())
                    + meta.as_ref().map_or(0, |meta| meta.as_str().len())
            }
            EventBody::Edited { text, .. } => text.as_ref().map_or(0, |text| text.len()),
            EventBody::Room(RoomPatch { topic, state, .. }) => {
                topic.as_ref().map_or(0, |topic| topic.len())
                    + state.as_ref().map_or(0, |state| state.as_str().len())
            }
            _ => 0,
        };
        self.events.iter().map(|event| EVENT_OVERHEAD_BYTES + text(event)).sum()
    }

    /// The same without the texts of message `target`; `None` where it has none of them.
    fn without_texts_of(&self, target: Seq) -> Option<Self> {
        let redact = |event: &Arc<Event>| redacted(event, target);
        if !self.events.iter().any(|event| redact(event).is_some()) {
            return None;
        }
        let events = self.events.iter().map(|event| redact(event).map_or_else(|| event.clone(), Arc::new));
        Some(Self::new(events.collect()))
    }
}

/// The event without its text, where that is a text of message `target`.
fn redacted(event: &Event, target: Seq) -> Option<Event> {
    let body = match &event.body {
        EventBody::Message(message) if event.seq == target && !message.is_deleted() => {
            EventBody::Message(Message { text: None, meta: None, edited_at: None, ..message.clone() })
        }
        EventBody::Edited { target: edited, text: Some(_) } if *edited == target => {
            EventBody::Edited { target, text: None }
        }
        _ => return None,
    };
    Some(Event { body, ..event.clone() })
}

/// What a reader finds after its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// All that is live: the blocks asked for, or none at the end.
    Live,
    /// The next event is not held here any more: the store has it.
    Behind,
    /// Whether this reader may read on has to be asked.
    Unsure,
}

/// A room's newest events, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Tail {
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
    bytes_max: usize,
    last: Seq,
    touched: Seq,
}

impl Tail {
    /// An empty tail after event `last`.
    pub(crate) const fn new(last: Seq, bytes_max: usize) -> Self {
        Self { blocks: VecDeque::new(), bytes: 0, bytes_max, last, touched: Seq::ZERO }
    }

    /// The newest event's number.
    pub(crate) const fn last(&self) -> Seq {
        self.last
    }

    /// The newest message that an event in this tail has changed: from this position on, the tail shows every message
    /// as it now is.
    pub(crate) const fn touched(&self) -> Seq {
        self.touched
    }

    /// Adds a run of events that begins with the next number.
    ///
    /// # Panics
    /// Where the run is empty, has a hole, or begins with another number: the caller has looked.
    pub(crate) fn push(&mut self, events: Vec<Arc<Event>>) {
        let mut expected = self.last;
        for event in &events {
            expected = expected.next();
            assert_eq!(event.seq, expected, "a tail takes only its next number");
            if let Some(target) = event.body.target() {
                self.touched = self.touched.max(target);
            }
        }
        assert!(!events.is_empty(), "a block holds at least one event");
        self.last = expected;
        let deleted: Vec<Seq> = events.iter().filter_map(|event| deleted_by(event)).collect();
        let block = Block::new(events.into());
        self.bytes += block.weight_bytes();
        self.blocks.push_back(Arc::new(block));
        for target in deleted {
            self.forget_texts_of(target);
        }
        self.cut();
    }

    /// Begins anew after event `last`, with what is between lost to the readers of this tail.
    pub(crate) fn restart(&mut self, last: Seq) {
        *self = Self::new(last, self.bytes_max);
    }

    /// Collects the blocks that hold what comes after `position`, up to about `bytes` of it.
    pub(crate) fn read_after(&self, position: Seq, bytes: usize, blocks: &mut Vec<Arc<Block>>) -> Found {
        if position >= self.last {
            return Found::Live;
        }
        let index = self.blocks.partition_point(|block| block.last() <= position);
        let Some(first) = self.blocks.get(index) else { return Found::Behind };
        if first.first() > position.next() {
            return Found::Behind;
        }
        let mut gathered = 0;
        for block in self.blocks.range(index..) {
            if gathered >= bytes {
                break;
            }
            gathered += block.weight_bytes();
            blocks.push(block.clone());
        }
        Found::Live
    }

    /// A deleted text reaches nobody after its `deleted` event, whoever is still on the way there.
    fn forget_texts_of(&mut self, target: Seq) {
        for block in self.blocks.iter_mut().filter(|block| block.last() >= target) {
            if let Some(redacted) = block.without_texts_of(target) {
                self.bytes = self.bytes - block.weight_bytes() + redacted.weight_bytes();
                *block = Arc::new(redacted);
            }
        }
    }

    /// Keeps the newest block, however large, and as many before it as fit.
    fn cut(&mut self) {
        while self.bytes > self.bytes_max && self.blocks.len() > 1 {
            let oldest = self.blocks.pop_front().expect("there are at least two");
            self.bytes -= oldest.weight_bytes();
        }
    }
}

const fn deleted_by(event: &Event) -> Option<Seq> {
    match event.body {
        EventBody::Deleted { target } => Some(target),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomId, Timestamp, UserId};

    fn event(seq: u64, body: EventBody) -> Arc<Event> {
        let (room, from) = (RoomId::new("r").unwrap(), UserId::new("ann").unwrap());
        Arc::new(Event { room, seq: Seq(seq), at: Timestamp(1), from, body })
    }

    fn said(seq: u64, text: &str) -> Arc<Event> {
        event(seq, EventBody::Message(Message { text: Some(text.into()), ..Message::default() }))
    }

    fn read(tail: &Tail, position: u64) -> Option<Vec<u64>> {
        let mut blocks = Vec::new();
        let found = tail.read_after(Seq(position), usize::MAX, &mut blocks);
        let seqs = blocks.iter().flat_map(|block| block.events().iter().map(|event| event.seq.0));
        (found == Found::Live).then(|| seqs.filter(|seq| *seq > position).collect())
    }

    #[test]
    fn a_reader_gets_what_comes_after_its_position() {
        let mut tail = Tail::new(Seq(4), 1 << 20);
        assert_eq!(read(&tail, 4), Some(vec![]));
        assert_eq!(read(&tail, 3), None);
        tail.push(vec![said(5, "a"), said(6, "b")]);
        tail.push(vec![said(7, "c")]);
        assert_eq!(read(&tail, 3), None);
        assert_eq!(read(&tail, 4), Some(vec![5, 6, 7]));
        assert_eq!(read(&tail, 5), Some(vec![6, 7]));
        assert_eq!(read(&tail, 7), Some(vec![]));
        assert_eq!(read(&tail, 9), Some(vec![]), "a reader fed by the store may be ahead");
    }

    #[test]
    fn the_tail_is_bounded_in_bytes_and_keeps_the_newest_block() {
        let mut tail = Tail::new(Seq(0), 3 * (EVENT_OVERHEAD_BYTES + 100));
        for seq in 1..=10 {
            tail.push(vec![said(seq, &"x".repeat(100))]);
        }
        assert_eq!(read(&tail, 6), None);
        assert_eq!(read(&tail, 7), Some(vec![8, 9, 10]));
        tail.push(vec![said(11, &"x".repeat(100_000))]);
        assert_eq!(read(&tail, 9), None);
        assert_eq!(read(&tail, 10), Some(vec![11]));
    }

    #[test]
    #[should_panic(expected = "only its next number")]
    fn a_hole_is_refused() {
        Tail::new(Seq(0), 1).push(vec![said(2, "a")]);
    }

    #[test]
    fn a_deleted_text_is_gone_from_the_tail_in_every_form() {
        let mut tail = Tail::new(Seq(0), 1 << 20);
        tail.push(vec![said(1, "secret"), said(2, "other")]);
        tail.push(vec![event(3, EventBody::Edited { target: Seq(1), text: Some("secret too".into()) })]);
        let mut blocks = Vec::new();
        tail.read_after(Seq(0), usize::MAX, &mut blocks);
        for block in &blocks {
            block.frames(Codec::Single);
        }
        tail.push(vec![event(4, EventBody::Deleted { target: Seq(1) })]);
        assert_eq!(read(&tail, 0), Some(vec![1, 2, 3, 4]));
        let mut blocks = Vec::new();
        tail.read_after(Seq(0), usize::MAX, &mut blocks);
        for codec in Codec::ALL {
            let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.frames(codec)).collect();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("secret") && text.contains("other"), "{text}");
        }
        assert_eq!(tail.touched(), Seq(1));
    }

    #[test]
    fn frames_of_a_block_are_the_frames_of_its_events() {
        let block = Block::new([said(1, "a"), said(2, &"b".repeat(200)), said(3, "c")].into());
        let single = block.frames(Codec::Single);
        let joined: Vec<u8> = (0..3).flat_map(|i| block.frame(Codec::Single, i).unwrap().to_vec()).collect();
        assert_eq!(single, joined);
        assert_eq!(block.frame(Codec::Single, 3), None);
        assert_eq!(block.frame(Codec::Batch, 0), None);
        let batch = block.frames(Codec::Batch);
        assert_eq!(&batch[..2], &[0x81, 126]);
        let array: Vec<serde_json::Value> = serde_json::from_slice(&batch[4..]).unwrap();
        assert_eq!(array.len(), 3);
    }
}
