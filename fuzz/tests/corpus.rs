//! The bodies of the fuzz targets over everything that is known to be interesting: the corpus, and the golden frames.

#![expect(clippy::print_stdout, reason = "where a body fails, the last file printed is the one")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use chat_fuzz::{codec, decode, reader, session, tail, token, writer};

/// Every file of a folder of this repository, in the order of their names.
fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder is part of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    assert!(!paths.is_empty(), "a folder without files");
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a readable file"))).collect()
}

fn replay(target: &str, body: fn(&[u8])) {
    for (path, data) in files(&format!("corpus/{target}")) {
        println!("{}", path.display());
        body(&data);
    }
}

#[test]
fn the_corpus_of_codec_passes() {
    replay("codec", codec);
}

#[test]
fn the_corpus_of_decode_passes() {
    replay("decode", decode);
}

#[test]
fn the_corpus_of_session_passes() {
    replay("session", session);
}

#[test]
fn the_corpus_of_reader_passes() {
    replay("reader", reader);
    // And cut off, wherever that is, in pieces of any size.
    for (path, data) in files("corpus/reader") {
        println!("{}, in pieces", path.display());
        let wire = data.iter().position(|byte| *byte == b'\n').map_or(&[][..], |end| &data[end..]);
        (1..=wire.len()).for_each(|end| reader(&[&[1][..], &wire[..end]].concat()));
        (1..=255).filter(|size| *size != b'\n').for_each(|size| reader(&[&[size], wire].concat()));
    }
}

#[test]
fn the_corpus_of_tail_passes() {
    replay("tail", tail);
}

#[test]
fn the_corpus_of_token_passes() {
    replay("token", token);
}

#[test]
fn the_corpus_of_writer_passes() {
    replay("writer", writer);
}

#[test]
fn every_golden_command_reads_as_a_plain_reader_reads_it() {
    for (path, data) in files("../golden/client") {
        println!("{}", path.display());
        decode(&data);
        // And cut off, wherever that is.
        (0..data.len()).for_each(|end| decode(&data[..end]));
    }
}

#[test]
fn a_session_of_all_golden_commands_gets_its_replies() {
    let commands = files("../golden/client");
    let mut script = Vec::new();
    for who in [b'0', b'1'] {
        for (_, command) in &commands {
            script.push(who);
            script.extend_from_slice(command);
            script.push(b'\n');
        }
        script.extend_from_slice(b"t\nr0\n");
    }
    session(&script);
}

#[test]
fn every_golden_frame_comes_through_in_small_pieces() {
    let texts: Vec<u8> =
        files("../golden/server").into_iter().flat_map(|(_, text)| [b"\n+\0", &text[..]].concat()).collect();
    for pieces in [&[1][..], &[0, 3], &[255, 0, 1], &[]] {
        writer(&[pieces, &texts, b"\n=\nw\x01\x02\xff"].concat());
    }
}

/// A run with headers of two lengths, and what happens when the socket has taken so many bytes of it.
fn after_each_byte(then: &[u8]) {
    let run = [b"\n+\0\n+\0hello\n+\x06xy\n+\0z\n=\nw", &[1; 300][..]].concat();
    // The line without its text, and so far: the socket takes one byte in each write.
    for taken in 0..=300 {
        writer(&[&run[..run.len() - taken], then].concat());
    }
}

#[test]
fn control_frames_find_their_place_whatever_the_socket_has_taken() {
    after_each_byte(b"\n!\n?pong\nw\x01\n?and\nw\x02\x01\n+\0next\n=");
}

#[test]
fn a_close_frame_comes_behind_a_whole_frame_whatever_the_socket_has_taken() {
    after_each_byte(b"\ncdrain");
    after_each_byte(b"\n?pong\ncdrain\n!\n?late\nw\x01\n!\n?late");
}

#[test]
fn a_socket_that_breaks_after_any_byte_has_whole_frames_before_it() {
    after_each_byte(b"\nk");
    // In what a close has left, too.
    for taken in 0..40 {
        let takes = vec![1; taken];
        writer(&[b"\n+\0hello\n+\0never\n=\nw\x03\n?pong\ncdrain\nw", &takes[..], b"\nk"].concat());
    }
}
