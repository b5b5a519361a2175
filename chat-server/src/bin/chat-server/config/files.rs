//! The files that settings name.

use std::path::Path;

use chat_server::{JwtKey, Tls, TlsError, read_small_file};

use super::{Given, Mistake, Settings};

/// What was in the files that settings name.
#[derive(Debug)]
pub(crate) struct Files {
    /// The key of tokens.
    pub(crate) key: Option<JwtKey>,
    /// The certificate that is served.
    pub(crate) tls: Option<Tls>,
}

impl Files {
    pub(super) fn read(settings: &Settings, given: &Given) -> Result<Self, Mistake> {
        let key = if let Some(path) = &settings.jwt_secret_file {
            let bytes = read(path, "jwt-secret-file", given)?;
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Some(JwtKey::secret(line).map_err(|bad| unfit(path, "jwt-secret-file", given, &bad))?)
        } else if let Some(path) = &settings.jwt_public_key {
            let bytes = read(path, "jwt-public-key", given)?;
            // What is no text is no PEM text either.
            let key = JwtKey::public_pem(&String::from_utf8_lossy(&bytes));
            Some(key.map_err(|bad| unfit(path, "jwt-public-key", given, &bad))?)
        } else {
            settings.jwt_secret.clone()
        };
        let tls = if let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
            Some(Tls::load(cert, key).map_err(|bad| Mistake::at(given.place(of_which(&bad, key)), bad))?)
        } else {
            None
        };
        Ok(Self { key, tls })
    }
}

/// The setting whose file is at fault.
fn of_which(bad: &TlsError, key: &Path) -> &'static str {
    match bad {
        TlsError::NoKey(_) | TlsError::BadKey { .. } | TlsError::Mismatch { .. } => "tls-key",
        TlsError::Unreadable { path, .. } if path == key => "tls-key",
        _ => "tls-cert",
    }
}

/// A file that can be read and does not hold what it should.
fn unfit(path: &Path, setting: &str, given: &Given, bad: &dyn std::error::Error) -> Mistake {
    Mistake::at(given.place(setting), format_args!("{}: {bad}", path.display()))
}

/// Reads the file that a setting names.
pub(super) fn read(path: &Path, setting: &str, given: &Given) -> Result<Vec<u8>, Mistake> {
    read_small_file(path).map_err(|error| {
        Mistake::at(given.place(setting), format_args!("{} cannot be read: {error}", path.display()))
    })
}
