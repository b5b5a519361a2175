//! See [`chat_fuzz::reader`]. Without libFuzzer it takes the inputs in the files that it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| chat_fuzz::reader(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    chat_fuzz::replay(chat_fuzz::reader)
}
