//! The example `in_process`, run as a program.

use std::process::Command;

#[test]
fn it_says_what_the_engine_did() {
    let output = Command::new(env!("CARGO_BIN_EXE_in_process")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        said,
        "sent as 2, again as 2 (duplicate: true)\n\
         refused: forbidden: please do not shout\n\
         bob hears 1 ann: (somebody became a member)\n\
         bob hears 2 ann: hello\n\
         bob hears 3 ann: where is the d**n key?\n\
         bob hears 4 ann: there you are\n\
         the newest two: 3, 4 (older ones: true)\n"
    );
}
