//! The live end of a timeline: the newest events, encoded once for everybody.
//!
//! A reader holds a number, not a queue: it asks for what comes after its position, and copies bytes that it shares with
//! all others. What the tail no longer holds is read from the store.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::{
    ids::Seq,
    limits::BLOCK_BYTES_MAX,
    protocol::{
        Codec, Event, EventBody, Message, RoomPatch,
        codec::{put_frame, put_json},
    },
};

/// Bytes that an event takes beside its text, about: for the bound of the tail.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 256;

/// Events that go out together: one dense run, encoded at most once per codec. Readers share it.
#[derive(Debug)]
pub(crate) struct Block {
    events: Box<[Arc<Event>]>,
    /// How many of the events up to each are messages, itself included.
    messages: Box<[u32]>,
    encoded: [OnceLock<Encoded>; Codec::ALL.len()],
}

/// A block under one codec.
#[derive(Debug)]
struct Encoded {
    /// One frame for each event, or one array of all.
    bytes: Bytes,
    /// Where the first event begins in it: its frame, or its object.
    start: usize,
    /// Where each event ends in it.
    ends: Box<[usize]>,
}

/// Some events of a block under one codec.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run<'a> {
    /// Whole frames.
    Frames(Bytes),
    /// Objects with commas between, for an array that is still to be closed.
    Objects(&'a [u8]),
}

impl Block {
    fn new(events: Box<[Arc<Event>]>) -> Self {
        let is_message = |event: &Arc<Event>| u32::from(matches!(event.body, EventBody::Message(_)));
        let sums = events.iter().scan(0, |sum, event| {
            *sum += is_message(event);
            Some(*sum)
        });
        Self { messages: sums.collect(), events, encoded: Default::default() }
    }

    /// The events, in order of numbers.
    pub(crate) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// How many of these events are messages.
    pub(crate) fn messages(&self, range: Range<usize>) -> usize {
        let up_to =
            |end: usize| end.checked_sub(1).and_then(|last| self.messages.get(last)).map_or(0, |sum| *sum);
        up_to(range.end).saturating_sub(up_to(range.start)) as usize
    }

    /// The number of the first event.
    pub(crate) fn first(&self) -> Seq {
        self.events.first().map_or(Seq::ZERO, |event| event.seq)
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> Seq {
        self.events.last().map_or(Seq::ZERO, |event| event.seq)
    }

    /// Which of the events come after `position`, up to `end` where there is one.
    pub(crate) fn after(&self, position: Seq, end: Option<Seq>) -> Range<usize> {
        let first = self.first();
        let up_to = |seq: Seq| {
            let events = seq.next().0.saturating_sub(first.0);
            usize::try_from(events).unwrap_or(usize::MAX).min(self.events.len())
        };
        let start = up_to(position);
        start..end.map_or(self.events.len(), up_to).max(start)
    }

    /// Some of the events as they go out. Under [`Codec::Batch`] only a whole block is a frame.
    ///
    /// # Panics
    /// Where there are no such events.
    pub(crate) fn run(&self, codec: Codec, range: Range<usize>) -> Run<'_> {
        let Encoded { bytes, start, ends } = self.encoded(codec);
        if range == (0..self.events.len()) {
            return Run::Frames(bytes.clone());
        }
        let end = range.end.checked_sub(1).map_or(0, |last| ends[last]);
        let before = range.start.checked_sub(1).map(|last| ends[last]);
        match codec {
            Codec::Single => Run::Frames(bytes.slice(before.unwrap_or(*start)..end)),
            // Behind the comma.
            Codec::Batch => Run::Objects(&bytes[before.map_or(*start, |before| before + 1)..end]),
        }
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
        let mut ends = Vec::with_capacity(self.events.len());
        let mut start = 0;
        match codec {
            Codec::Single => {
                for event in &self.events {
                    put_frame(&mut out, |out| put_json(out, event));
                    ends.push(out.len());
                }
            }
            Codec::Batch => {
                let payload_bytes = put_frame(&mut out, |out| {
                    let payload = out.len();
                    out.push(b'[');
                    for event in &self.events {
                        if !ends.is_empty() {
                            out.push(b',');
                        }
                        put_json(out, event);
                        ends.push(out.len() - payload);
                    }
                    out.push(b']');
                    out.len() - payload
                });
                let header_bytes = out.len() - payload_bytes;
                // Behind the bracket. It cannot be looked for: a byte of the header's length may look like one.
                start = header_bytes + 1;
                for end in &mut ends {
                    *end += header_bytes;
                }
            }
        }
        out.shrink_to_fit();
        Encoded { bytes: out.into(), start, ends: ends.into() }
    }

    /// What it counts in the bound of the tail.
    pub(crate) fn weight_bytes(&self) -> usize {
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
    /// What comes next, or nothing at the end.
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
    /// So many of the newest blocks are as they were committed, and not joined yet.
    fresh: usize,
    bytes: usize,
    bytes_max: usize,
    last: Seq,
    touched: Seq,
}

impl Tail {
    /// An empty tail after event `last`.
    pub(crate) const fn new(last: Seq, bytes_max: usize) -> Self {
        Self { blocks: VecDeque::new(), fresh: 0, bytes: 0, bytes_max, last, touched: Seq::ZERO }
    }

    /// Changes how much is held.
    pub(crate) const fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
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
        self.fresh += 1;
        for target in deleted {
            self.forget_texts_of(target);
        }
        self.cut();
    }

    /// Begins anew after event `last`, with what is between lost to the readers of this tail.
    pub(crate) fn restart(&mut self, last: Seq) {
        *self = Self::new(last, self.bytes_max);
    }

    /// Joins the blocks that came since the last time, as their readers are about to be woken: so what has gathered is
    /// encoded once, and most readers find it in one piece.
    pub(crate) fn join(&mut self) {
        let joined_before = self.blocks.len() - std::mem::take(&mut self.fresh);
        if self.blocks.len() - joined_before < 2 {
            return;
        }
        let (mut joined, mut bytes) = (Vec::<Arc<Event>>::new(), 0);
        for block in self.blocks.split_off(joined_before) {
            if bytes + block.weight_bytes() > BLOCK_BYTES_MAX && !joined.is_empty() {
                self.blocks.push_back(Arc::new(Block::new(std::mem::take(&mut joined).into())));
                bytes = 0;
            }
            bytes += block.weight_bytes();
            joined.extend(block.events().iter().cloned());
        }
        self.blocks.push_back(Arc::new(Block::new(joined.into())));
    }

    /// The block that holds what comes after `position`; none at the end.
    pub(crate) fn after(&self, position: Seq) -> (Found, Option<&Arc<Block>>) {
        if position >= self.last {
            return (Found::Live, None);
        }
        let holds = |block: &&Arc<Block>| block.first() <= position.next();
        // Most readers are near the end.
        let newest = self.blocks.back().filter(holds);
        let block = newest.or_else(|| {
            let index = self.blocks.partition_point(|block| block.last() <= position);
            self.blocks.get(index).filter(holds)
        });
        (if block.is_some() { Found::Live } else { Found::Behind }, block)
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
        self.fresh = self.fresh.min(self.blocks.len());
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

    fn blocks(tail: &Tail, mut position: Seq) -> Option<Vec<Arc<Block>>> {
        let mut blocks = Vec::new();
        loop {
            match tail.after(position) {
                (Found::Live, Some(block)) => {
                    position = block.last();
                    blocks.push(block.clone());
                }
                (Found::Live, None) => return Some(blocks),
                _ => return None,
            }
        }
    }

    fn read(tail: &Tail, position: u64) -> Option<Vec<u64>> {
        let seqs = |block: &Arc<Block>| {
            block.events()[block.after(Seq(position), None)]
                .iter()
                .map(|event| event.seq.0)
                .collect::<Vec<_>>()
        };
        blocks(tail, Seq(position)).map(|blocks| blocks.iter().flat_map(seqs).collect())
    }

    fn frames(block: &Block, codec: Codec) -> Bytes {
        match block.run(codec, 0..block.events().len()) {
            Run::Frames(frames) => frames,
            Run::Objects(_) => unreachable!("a whole block is whole frames"),
        }
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
    fn what_has_gathered_is_one_block_for_whoever_comes_then() {
        let mut tail = Tail::new(Seq(0), 1 << 20);
        tail.push(vec![said(1, "a")]);
        tail.join();
        for seq in 2..=4 {
            tail.push(vec![said(seq, "b")]);
        }
        assert_eq!(blocks(&tail, Seq(1)).unwrap().len(), 3);
        tail.join();
        assert_eq!(blocks(&tail, Seq(1)).unwrap().len(), 1);
        assert_eq!(blocks(&tail, Seq(0)).unwrap().len(), 2, "what was told before stays as it was");
        assert_eq!(read(&tail, 2), Some(vec![3, 4]), "whoever was there before has a place in it");
        for seq in 5..=7 {
            tail.push(vec![said(seq, &"x".repeat(BLOCK_BYTES_MAX / 2))]);
        }
        tail.join();
        assert_eq!(blocks(&tail, Seq(4)).unwrap().len(), 3, "a block has a bound");
        assert_eq!(read(&tail, 0), Some((1..=7).collect()));
    }

    #[test]
    fn a_deleted_text_is_gone_from_the_tail_in_every_form() {
        let mut tail = Tail::new(Seq(0), 1 << 20);
        tail.push(vec![said(1, "secret"), said(2, "other")]);
        tail.push(vec![event(3, EventBody::Edited { target: Seq(1), text: Some("secret too".into()) })]);
        for block in blocks(&tail, Seq(0)).unwrap() {
            frames(&block, Codec::Single);
        }
        tail.push(vec![event(4, EventBody::Deleted { target: Seq(1) })]);
        assert_eq!(read(&tail, 0), Some(vec![1, 2, 3, 4]));
        tail.join();
        for codec in Codec::ALL {
            let blocks = blocks(&tail, Seq(0)).unwrap();
            let bytes: Vec<u8> = blocks.iter().flat_map(|block| frames(block, codec)).collect();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("secret") && text.contains("other"), "{text}");
        }
        assert_eq!(tail.touched(), Seq(1));
    }

    #[test]
    fn a_run_of_a_batch_begins_behind_the_header_whatever_that_looks_like() {
        for text_bytes in 0..1000 {
            let block = Block::new([said(1, &"a".repeat(text_bytes)), said(2, "b")].into());
            let Run::Objects(first) = block.run(Codec::Batch, 0..1) else { panic!("a part is no frame") };
            let object: serde_json::Value = serde_json::from_slice(first).unwrap();
            assert_eq!(object["seq"], 1, "{text_bytes}");
        }
    }

    #[test]
    fn a_run_is_a_part_of_what_all_events_are() {
        let events =
            [said(1, "a"), said(2, &"b".repeat(200)), event(3, EventBody::Deleted { target: Seq(1) })];
        let block = Block::new(events.clone().into());
        let mut single = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let mut frame = Vec::new();
            put_frame(&mut frame, |out| put_json(out, event));
            assert_eq!(block.run(Codec::Single, index..index + 1), Run::Frames(frame.clone().into()));
            let object = serde_json::to_vec(event).unwrap();
            assert_eq!(block.run(Codec::Batch, index..index + 1), Run::Objects(&object));
            single.extend(frame);
        }
        assert_eq!(frames(&block, Codec::Single), single);
        let array = serde_json::to_vec(&events).unwrap();
        let batch = frames(&block, Codec::Batch);
        assert_eq!(&batch[..2], &[0x81, 126]);
        assert_eq!(&batch[4..], &array);
        let end = array.len() - 1;
        let second = serde_json::to_vec(&events[0]).unwrap().len() + 2;
        assert_eq!(block.run(Codec::Batch, 1..3), Run::Objects(&array[second..end]));
        assert_eq!(
            [block.messages(0..3), block.messages(1..3), block.messages(2..3), block.messages(1..1)],
            [2, 1, 0, 0]
        );
    }
}
