//! Files that settings name: small ones, whatever is at their path.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::limits::FILE_BYTES_MAX;

/// Reads a file with a key, a certificate or settings, but not one without an end.
///
/// ```no_run
/// let pem = chat_server::read_small_file("/etc/chat/key.pem".as_ref())?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of the system; [`FileTooLarge`](io::ErrorKind::FileTooLarge) past [`FILE_BYTES_MAX`].
pub fn read_small_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if read as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
