//! Frames, read by hand: so that what writes them is held against something that shares nothing with it.

/// The payload of the first frame, and what comes behind it (RFC 6455, section 5.2).
///
/// # Panics
/// Where it is no whole text frame of a server, or its length has not the shortest form.
pub(crate) fn frame(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (header, length) = match bytes {
        [0x81, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        [0x81, 127, long @ ..] => {
            let long = long.first_chunk().expect("a whole header");
            (10, u64::from_be_bytes(*long))
        }
        [0x81, length @ ..=125, ..] => (2, u64::from(*length)),
        other => panic!("no text frame of a server: {:?}", &other[..other.len().min(10)]),
    };
    let shortest = match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    assert_eq!(header, shortest, "{length} bytes in a longer form than they need");
    let length = usize::try_from(length).expect("a length");
    assert!(length <= bytes.len() - header, "a frame of {length} bytes that ends after {}", bytes.len());
    bytes[header..].split_at(length)
}

/// The payloads of a run of frames, which ends where a frame ends.
pub(crate) fn payloads(mut run: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while !run.is_empty() {
        let (payload, rest) = frame(run);
        payloads.push(payload);
        run = rest;
    }
    payloads
}
