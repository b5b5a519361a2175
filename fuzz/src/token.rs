//! Tokens, as strangers and as careless issuers write them.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_core::{Role, UserId};
use chat_server::{Grant, JwtAuth, JwtKey};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

/// What the issuer and the server share.
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// What a header may not say: where a key comes from, or what one must understand.
const FORBIDDEN: [&str; 5] = ["jku", "jwk", "x5u", "x5c", "crit"];

/// Shows the server a token, and holds what it believes against a plain reading of the same.
///
/// The lines are the header, the claims, and where given the number of a bit that is turned over at the end. The token is
/// signed as it is, whatever it says. Where the input begins with `!` what follows is a token that nobody has signed.
///
/// # Panics
/// Where a token counts that must not, or says another thing than it does.
pub fn token(data: &[u8]) {
    let auth = JwtAuth::new(JwtKey::secret(SECRET).expect("it is long enough"));
    if let [b'!', forged @ ..] = data {
        let forged = String::from_utf8_lossy(forged);
        assert!(auth.verify(&forged).is_err(), "nobody has signed {forged}");
        return;
    }
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let claims = lines.next().unwrap_or_default();
    let signed = signed(header, claims);
    let turned = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse::<usize>().ok());
    if let Some(bit) = turned {
        let mut bytes = signed.into_bytes();
        let at = bit / 8 % bytes.len();
        bytes[at] ^= 1 << (bit % 8);
        let turned = String::from_utf8_lossy(&bytes);
        assert!(auth.verify(&turned).is_err(), "bit {bit} of {turned} is another");
        return;
    }
    let before = now_ms();
    match auth.verify(&signed) {
        Ok(grant) => check(&grant, header, claims, before),
        Err(_) => assert!(!is_plain(header, claims), "it says nothing wrong: {signed}"),
    }
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(message.as_bytes(), &EncodingKey::from_secret(SECRET), Algorithm::HS256);
    format!("{message}.{}", signature.expect("a secret signs everything"))
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_millis().try_into().expect("it is before the year 500,000,000")
}

/// A token that must count: the shortest header, a user, an end that is far away, and nothing else.
fn is_plain(header: &[u8], claims: &[u8]) -> bool {
    let Ok(Pairs(pairs)) = serde_json::from_slice(claims) else { return false };
    let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if header != br#"{"alg":"HS256"}"# || names != ["exp", "sub"] {
        return false;
    }
    let claims = Said::read(claims);
    let far = 4_000_000_000..9_000_000_000_000;
    claims.every("sub", |sub| sub.as_str().is_some_and(is_id))
        && claims.every("exp", |exp| exp.as_u64().is_some_and(|at| far.contains(&at)))
}

fn is_id(text: &str) -> bool {
    UserId::new(text).is_ok()
}

fn check(grant: &Grant, header: &[u8], claims: &[u8], before: u64) {
    let header = Said::read(header);
    assert!(header.every("alg", |alg| alg == "HS256"), "another algorithm: {header:?}");
    let names_nothing = FORBIDDEN.iter().all(|name| header.every(name, Value::is_null));
    assert!(names_nothing, "it is told where its key comes from: {header:?}");
    let is_path = |kid: &Value| kid.as_str().is_some_and(|kid| kid.contains(['/', '\\', '%', '\0']));
    assert!(header.every("kid", |kid| !is_path(kid)), "a key's id is a path: {header:?}");

    let claims = Said::read(claims);
    let identity = &grant.identity;
    assert!(claims.has("sub") && claims.every("sub", |sub| sub == identity.user.as_str()), "{claims:?}");
    let name = |name: &Value| {
        name == &*identity.name || (name.is_null() && *identity.name == *identity.user.as_str())
    };
    assert!(claims.every("name", name), "{claims:?}");
    let role =
        |role: &Value| role == identity.role.as_str() || (role.is_null() && identity.role == Role::Member);
    assert!(claims.every("role", role), "{claims:?}");
    assert!(claims.has("role") || identity.role == Role::Member, "a role that nobody gave: {claims:?}");
    let end = grant.expires_at.expect("every token ends").0;
    assert!(end > before.cast_signed(), "it is over: {claims:?}");
    // To the millisecond, as far as a fraction of a second can say it.
    #[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
    let is_end = |exp: &Value| exp.as_f64().is_some_and(|exp| (exp * 1000.0 - end as f64).abs() < 1.5);
    assert!(claims.has("exp") && claims.every("exp", is_end), "{end} is not the end of {claims:?}");
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^53")]
    let has_begun =
        |nbf: &Value| nbf.is_null() || nbf.as_f64().is_some_and(|nbf| nbf * 1000.0 < before as f64 + 5000.0);
    assert!(claims.every("nbf", has_begun), "it does not count yet: {claims:?}");
    assert!(claims.every("aud", Value::is_null), "it is for somebody else: {claims:?}");
}

/// What an object says, each field as often as it stands there.
#[derive(Debug)]
struct Said(BTreeMap<String, Vec<Value>>);

impl Said {
    fn read(text: &[u8]) -> Self {
        // In what nobody reads there may be anything, even what is no text.
        let text = String::from_utf8_lossy(text);
        let Pairs(pairs) = serde_json::from_str(&text).expect("what counts is an object");
        let mut said = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in pairs {
            let value = serde_json::from_str(value.get()).unwrap_or_else(|_| Value::from("no JSON"));
            said.entry(name).or_default().push(value);
        }
        Self(said)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether it holds each time that the field is there.
    fn every(&self, name: &str, is_right: impl Fn(&Value) -> bool) -> bool {
        self.0.get(name).into_iter().flatten().all(is_right)
    }
}

/// The fields of an object in their order.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
