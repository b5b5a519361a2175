//! What goes over the wire, there and back: what the server says under both codecs, and commands in every spelling.

mod object;
mod request;
mod said;

use chat_core::protocol::{
    Codec,
    codec::{put_array, put_frame, put_one},
};
use serde_json::value::RawValue;

use self::{object::check, said::Said};
use crate::frame::payloads;

/// Lines that count: an input costs some milliseconds at most.
const LINES_MAX: usize = 256;

/// Builds what the lines say, writes it, reads it back, and compares.
///
/// A line that begins with `>` is a command, any other something that the server says; `codec/request.rs` and
/// `codec/said.rs` have the tables. What is neither is passed over.
///
/// # Panics
/// Where something else is read than was written.
pub fn codec(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut all = Vec::new();
    for line in script.split('\n').take(LINES_MAX) {
        if let Some(line) = line.strip_prefix('>') {
            request::there_and_back(line);
        } else if let Some(said) = Said::read(line, &all) {
            comes_back(&said);
            all.push(said);
        }
    }
    if !all.is_empty() {
        comes_back_together(&all);
    }
}

/// Each codec gives it one frame of its own.
fn comes_back(said: &Said) {
    let wanted = said.wanted();
    for codec in Codec::ALL {
        // Behind something else: a frame is appended.
        let mut bytes = vec![0x81, 0];
        put_one(&mut bytes, codec, said);
        let frames = payloads(&bytes);
        assert_eq!(frames.len(), 2, "one header, one frame: {said:?}");
        let text = std::str::from_utf8(frames[1]).expect("the payload is text");
        match codec {
            Codec::Single => check(&wanted, text),
            Codec::Batch => {
                let objects = array(text);
                assert_eq!(objects.len(), 1, "{text}");
                check(&wanted, objects[0].get());
            }
        }
    }
}

/// Many of them are one frame with one array, in their order.
fn comes_back_together(all: &[Said]) {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, |out| put_array(out, all));
    let frames = payloads(&bytes);
    assert_eq!(frames.len(), 1, "an array is one frame");
    let text = std::str::from_utf8(frames[0]).expect("the payload is text");
    let objects = array(text);
    assert_eq!(objects.len(), all.len(), "{text}");
    all.iter().zip(objects).for_each(|(said, object)| check(&said.wanted(), object.get()));
}

fn array(text: &str) -> Vec<Box<RawValue>> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no array ({error}): {text}"))
}
