//! Where a session's output goes: bytes for a socket, or values for a program.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    presence::Spoken,
    protocol::{
        Answer, Codec, CommandId, Event, EventBody, Reply, Welcome,
        codec::{put_frame, put_json},
    },
    tail::{Block, Run},
};

/// Takes what a session has to say, in order.
pub(crate) trait Sink {
    /// Whether it wants no more for now. It takes what it is given all the same.
    fn is_full(&self) -> bool;
    /// Takes the first word on a connection.
    fn welcome(&mut self, welcome: &Welcome);
    /// Takes a reply, or what comes unasked.
    fn answer(&mut self, id: Option<CommandId>, reply: &Reply);
    /// Takes some events of a block, at least one.
    fn run(&mut self, block: &Block, range: Range<usize>);
    /// Takes an event that was read from the store.
    fn event(&mut self, event: Event);
    /// Takes what is told but not kept.
    fn spoken(&mut self, spoken: &Arc<Spoken>);
}

/// Gathers whole frames under one codec, ready for a socket.
///
/// What a block alone gives is passed on as it is shared; whatever stands beside something else is copied into one run of
/// bytes. Under [`Codec::Batch`] what is not a whole block gathers in arrays of its own. No event is encoded again.
#[derive(Debug)]
pub(crate) struct WireSink {
    codec: Codec,
    full_bytes: usize,
    shared: Option<Bytes>,
    frames: Vec<u8>,
    /// Objects of the array that is still open, with commas between.
    array: Vec<u8>,
    messages: usize,
}

impl WireSink {
    /// An empty sink that is full at `full_bytes`, and takes one thing at least.
    pub(crate) fn new(codec: Codec, full_bytes: usize) -> Self {
        Self {
            codec,
            full_bytes: full_bytes.max(1),
            shared: None,
            frames: Vec::new(),
            array: Vec::new(),
            messages: 0,
        }
    }

    /// Ends the run: its bytes, and how many messages of others are in them. `None` where there is nothing.
    pub(crate) fn finish(mut self) -> Option<(Bytes, usize)> {
        self.seal();
        let bytes = self.shared.take().unwrap_or_else(|| self.frames.into());
        (!bytes.is_empty()).then_some((bytes, self.messages))
    }

    fn len(&self) -> usize {
        self.shared.as_ref().map_or(0, Bytes::len) + self.frames.len() + self.array.len()
    }

    /// Closes the open array, if there is one.
    fn seal(&mut self) {
        if !self.array.is_empty() {
            let array = std::mem::take(&mut self.array);
            put_frame(self.own(), |out| {
                out.push(b'[');
                out.extend_from_slice(&array);
                out.push(b']');
            });
        }
    }

    /// The frames so far, in memory of our own.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Some(shared) = self.shared.take() {
            self.frames.extend_from_slice(&shared);
        }
        &mut self.frames
    }

    fn object(&mut self, value: &impl serde::Serialize) {
        match self.codec {
            Codec::Single => put_frame(self.own(), |out| put_json(out, value)),
            Codec::Batch => {
                if !self.array.is_empty() {
                    self.array.push(b',');
                }
                put_json(&mut self.array, value);
            }
        }
    }
}

impl Sink for WireSink {
    fn is_full(&self) -> bool {
        self.len() >= self.full_bytes
    }

    fn welcome(&mut self, welcome: &Welcome) {
        self.object(welcome);
    }

    fn answer(&mut self, id: Option<CommandId>, reply: &Reply) {
        self.object(&Answer { id, reply });
    }

    fn run(&mut self, block: &Block, range: Range<usize>) {
        self.messages += block.messages(range.clone());
        match block.run(self.codec, range) {
            Run::Frames(frames) => {
                self.seal();
                if self.shared.is_none() && self.frames.is_empty() {
                    self.shared = Some(frames);
                } else {
                    self.own().extend_from_slice(&frames);
                }
            }
            Run::Objects(objects) => {
                if !self.array.is_empty() {
                    self.array.push(b',');
                }
                self.array.extend_from_slice(objects);
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.messages += usize::from(matches!(event.body, EventBody::Message(_)));
        self.object(&event);
    }

    fn spoken(&mut self, spoken: &Arc<Spoken>) {
        self.object(&spoken.what);
    }
}
