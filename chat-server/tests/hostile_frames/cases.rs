//! What strangers send, and what it gets.

use super::support::masked;

/// What a peer sends, and the code with which it is closed.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) code: u16,
}

pub(crate) fn case(what: &str, bytes: impl Into<Vec<u8>>, code: u16) -> Case {
    Case { what: what.to_owned(), bytes: bytes.into(), code }
}

/// A masked frame that announces a payload and has none of it.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()
}

/// A text, cut into fragments at these places.
pub(crate) fn fragments(text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let ends = cuts.iter().copied().chain([text.len()]);
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let fragment = |(start, end): (usize, usize)| {
        let opcode = u8::from(start == 0);
        let fin = if end == text.len() { 0x80 } else { 0x00 };
        masked(opcode | fin, &text[start..end])
    };
    starts.zip(ends).flat_map(fragment).collect()
}

/// Frames that RFC 6455 does not know.
pub(crate) fn broken_frames() -> Vec<Case> {
    let within = |frame: Vec<u8>| [masked(0x01, b"{"), frame].concat();
    let mut cases = vec![
        case("an unmasked text", [0x81, 1, b'x'], 1002),
        case("an unmasked empty text", [0x81, 0], 1002),
        case("an unmasked ping", [0x89, 0], 1002),
        case("an unmasked close", [0x88, 2, 0x03, 0xe8], 1002),
        case("an unmasked continuation", within(vec![0x80, 0]), 1002),
        case("a continuation of nothing", masked(0x80, b"x"), 1002),
        case("an empty continuation of nothing", masked(0x00, b""), 1002),
        case("a continuation of what has ended", [masked(0x81, b"{}"), masked(0x80, b"")].concat(), 1002),
        case("a text within a text", within(masked(0x81, b"y")), 1002),
        case("a first fragment within a text", within(masked(0x01, b"y")), 1002),
        case("a binary within a text", within(masked(0x82, b"y")), 1002),
        case("half a close code", masked(0x88, &[3]), 1002),
        case("a ping of a length for messages", header(0x89, 65_536), 1002),
        case("16 bits for a length of 1", [0x81, 0xfe, 0, 1, 0, 0, 0, 0, b'x'], 1002),
        case("16 bits for a length of 125", [0x81, 0xfe, 0, 125, 0, 0, 0, 0], 1002),
        case("64 bits for a length of 1", header(0x81, 1), 1002),
        case("64 bits for a length of 65535", header(0x81, 65_535), 1002),
    ];
    // A ping's payload must be there before tungstenite looks at its length.
    cases[12].bytes.extend(vec![b'x'; 65_536]);
    for reserved in [0x40, 0x20, 0x10, 0x70] {
        for first in [0x81, 0x01, 0x89, 0x88] {
            let bytes = masked(first | reserved, b"");
            cases.push(case(&format!("reserved bits {reserved:x} on {first:x}"), bytes, 1002));
        }
        cases.push(case("reserved bits on a continuation", within(masked(0x80 | reserved, b"}")), 1002));
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for fin in [0x00, 0x80] {
            cases.push(case(&format!("opcode {:x}", fin | opcode), masked(fin | opcode, b"x"), 1002));
        }
        cases.push(case(
            &format!("opcode {opcode:x} within a text"),
            within(masked(0x80 | opcode, b"")),
            1002,
        ));
    }
    for control in [0x8, 0x9, 0xa] {
        cases.push(case(&format!("a fragment of {control:x}"), masked(control, b""), 1002));
        cases.push(case(&format!("126 bytes of {control:x}"), masked(0x80 | control, &[b'x'; 126]), 1002));
    }
    cases
}

/// Close frames whose code none may send, or whose reason is no text.
pub(crate) fn bad_closes() -> Vec<Case> {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 10_000, 65_535];
    let mut cases: Vec<_> = codes
        .into_iter()
        .map(|code: u16| case(&format!("close code {code}"), masked(0x88, &code.to_be_bytes()), 1002))
        .collect();
    // RFC 6455 has the reason as UTF-8 (5.5.1), and whatever is not fails with 1007 (8.1).
    for reason in [&[0xc0, 0xaf][..], &[0xed, 0xa0, 0x80], &[0xe2, 0x82], &[0x80]] {
        let payload = [&1000_u16.to_be_bytes()[..], reason].concat();
        cases.push(case(&format!("a close because of {reason:x?}"), masked(0x88, &payload), 1007));
    }
    cases
}

/// Texts that are no UTF-8, whole, cut anywhere, and each byte a fragment.
pub(crate) fn bad_texts() -> Vec<Case> {
    let mut cases = Vec::new();
    for bad in [
        &[0xc0, 0xaf][..],         // overlong
        &[0xc1, 0xbf],             // overlong
        &[0xe0, 0x80, 0xaf],       // overlong
        &[0xed, 0xa0, 0x80],       // a surrogate
        &[0xf4, 0x90, 0x80, 0x80], // beyond Unicode
        &[0xf5, 0x80, 0x80, 0x80], // never in UTF-8
        &[0xff],                   // never in UTF-8
        &[0x80],                   // continues nothing
        &[0xe2, 0x82],             // goes on in vain
        &[0xf0, 0x9f, 0x98],       // goes on in vain
    ] {
        for text in [bad.to_vec(), [b"{\"type\":\"ping\",\"x\":\"", bad, b"\"}"].concat()] {
            let name = format!("{bad:x?} in {} bytes", text.len());
            cases.push(case(&name, masked(0x81, &text), 1007));
            let begin = text.len() - bad.len().min(text.len());
            for cut in (1..text.len()).filter(|cut| text.len() < 9 || (begin - 4..=begin + 4).contains(cut)) {
                cases.push(case(&format!("{name}, cut at {cut}"), fragments(&text, &[cut]), 1007));
            }
            let everywhere: Vec<_> = (1..text.len()).collect();
            cases.push(case(&format!("{name}, each byte apart"), fragments(&text, &everywhere), 1007));
        }
    }
    cases
}

/// Frames and messages over 64 KiB.
pub(crate) fn too_large() -> Vec<Case> {
    let most = vec![b' '; 65_536];
    let fragments_of = |sizes: &[usize]| {
        let cuts: Vec<_> = sizes
            .iter()
            .scan(0, |at, size| {
                *at += size;
                Some(*at)
            })
            .collect();
        fragments(&vec![b' '; 65_537], &cuts)
    };
    let mut cases = vec![
        case("one byte too many", masked(0x81, &[&most[..], b" "].concat()), 1009),
        case("two halves and one byte", fragments_of(&[32_768, 32_768]), 1009),
        case("the limit and one byte", fragments_of(&[65_536]), 1009),
        case("one byte and the limit", fragments_of(&[1]), 1009),
        case("fragments of 4 KiB", fragments_of(&[4096; 16]), 1009),
    ];
    for length in [65_537, 1 << 24, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX] {
        for first in [0x81, 0x01, 0x82, 0x89] {
            cases.push(case(&format!("{first:x} announces {length}"), header(first, length), 1009));
        }
        let within = [masked(0x01, b"{"), header(0x80, length)].concat();
        cases.push(case(&format!("a continuation announces {length}"), within, 1009));
    }
    cases
}

/// What is allowed once, without end.
pub(crate) fn without_end() -> Vec<Case> {
    let repeated = |first: Vec<u8>, frame: Vec<u8>, times| [first, frame.repeat(times)].concat();
    let begin = || masked(0x01, b"{");
    let ping_within = [masked(0x00, b""), masked(0x89, b"")].concat();
    vec![
        case("empty continuations", repeated(begin(), masked(0x00, b""), 200_000), 1008),
        case("fragments of one byte", repeated(begin(), masked(0x00, b" "), 60_000), 1008),
        case("pings between empty continuations", repeated(begin(), ping_within, 100_000), 1008),
        case("100,000 pings", repeated(Vec::new(), masked(0x89, b"x"), 100_000), 1008),
        case("long pings", repeated(Vec::new(), masked(0x89, &[b'x'; 125]), 10_000), 1008),
        case("pongs that nobody asked for", repeated(Vec::new(), masked(0x8a, b""), 10_000), 1008),
        case("pings and pongs", repeated(masked(0x8a, b""), masked(0x89, b""), 10_000), 1008),
    ]
}

pub(crate) fn all_cases() -> Vec<Case> {
    [broken_frames(), bad_closes(), bad_texts(), too_large(), without_end()].into_iter().flatten().collect()
}
