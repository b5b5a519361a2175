//! Tokens as another service signs them, good and bad.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use serde_json::{Value, json};

/// The secret that the tests' issuer shares with the server.
pub(crate) const SECRET: &[u8] = b"a secret of the tests, 32 bytes!";

pub(crate) fn key(name: &str) -> String {
    let path = format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// Seconds since 1970, this many from now.
pub(crate) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// A token of these parts, whatever they say.
pub(crate) fn token(header: &Value, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    raw_token(&header.to_string(), &claims.to_string(), algorithm, key)
}

/// A token of these texts, which need not be JSON.
pub(crate) fn raw_token(header: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A good token of the tests' issuer.
pub(crate) fn token_for(user: &str) -> String {
    signed(&json!({ "sub": user, "exp": in_seconds(600) }))
}

/// A token with these claims, signed as it should be.
pub(crate) fn signed(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    token(&header, claims, Algorithm::HS256, &EncodingKey::from_secret(SECRET))
}
