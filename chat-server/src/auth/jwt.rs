//! JSON Web Tokens (RFC 7519) that another service signs.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::request::Parts;
use chat_core::{
    Identity,
    ids::{SAFE_INTEGER_MAX, Timestamp},
    limits::NAME_BYTES_MAX,
    protocol::{Token, draft::check_label},
    rights::Role,
    store::BoxFuture,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, TokenData, Validation, crypto::rust_crypto, decode, decode_header,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    AuthError, Authenticator, Grant, SignIn,
    token::{is_token, token_of},
};

/// Bytes of a secret for HS256, at least: as many as its hash has (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// Bits of an RSA key, at least (RFC 7518, section 3.3).
const RSA_BITS_MIN: usize = 2048;

/// What tokens are verified with. It fixes the algorithm: what a token says of its own is only compared with it.
#[derive(Clone)]
pub struct JwtKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A secret that can be guessed.
    #[error("a secret has at least {SECRET_BYTES_MIN} bytes")]
    ShortSecret,
    /// A key where a secret should be: if it is a public one, everybody could sign.
    #[error("a secret is no PEM text")]
    PemSecret,
    /// Something else than a public key, a private one for example, or more than one.
    #[error("a public key is one PEM block, which begins with -----BEGIN PUBLIC KEY-----")]
    NoPublicKey,
    /// A public key of another kind.
    #[error("a public key is RSA (for RS256), on the curve P-256 (for ES256) or Ed25519 (for EdDSA)")]
    UnknownKind,
    /// An RSA key that can be factored.
    #[error("an RSA key has at least {RSA_BITS_MIN} bits")]
    ShortRsa,
}

impl JwtKey {
    /// A secret that the signing service shares, for HS256.
    ///
    /// # Errors
    /// [`InvalidKey::ShortSecret`] below 32 bytes, [`InvalidKey::PemSecret`] for a key.
    pub fn secret(secret: &[u8]) -> Result<Self, InvalidKey> {
        if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(InvalidKey::PemSecret);
        }
        if secret.len() < SECRET_BYTES_MIN {
            return Err(InvalidKey::ShortSecret);
        }
        Ok(Self::new(DecodingKey::from_secret(secret), Algorithm::HS256))
    }

    /// The signing service's public key as PEM text; its kind decides the algorithm: `RS256` for RSA, `ES256` for
    /// P-256, `EdDSA` for Ed25519.
    ///
    /// # Errors
    /// [`InvalidKey`] for anything else.
    pub fn public_pem(pem: &str) -> Result<Self, InvalidKey> {
        // The parser would also take a private key or a certificate for one.
        let is_public = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"]
            .iter()
            .any(|begin| pem.trim_start().starts_with(begin));
        if !is_public || pem.matches("-----BEGIN ").count() != 1 {
            return Err(InvalidKey::NoPublicKey);
        }
        let pem = pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .map(|key| Self::new(key, Algorithm::RS256))
            .or_else(|_other| DecodingKey::from_ec_pem(pem).map(|key| Self::new(key, Algorithm::ES256)))
            .or_else(|_other| DecodingKey::from_ed_pem(pem).map(|key| Self::new(key, Algorithm::EdDSA)))
            .map_err(|_none| InvalidKey::UnknownKind)?;
        // Only a verifier looks at the key itself: at the curve, for example.
        (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&key.algorithm, &key.key)
            .map_err(|_unfit| InvalidKey::UnknownKind)?;
        if key.algorithm == Algorithm::RS256 && key.rsa_bits() < RSA_BITS_MIN {
            return Err(InvalidKey::ShortRsa);
        }
        Ok(key)
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        // Where another crate of the process has chosen one already, that one does as well.
        let _ = rust_crypto::DEFAULT_PROVIDER.install_default();
        Self { key, algorithm }
    }

    /// The length of an RSA modulus; 0 where there is none.
    fn rsa_bits(&self) -> usize {
        let der = self.key.try_get_as_bytes().unwrap_or_default();
        let components = rust_crypto::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key;
        components(der).map_or(0, |(modulus, _)| {
            let zeroes = modulus.iter().take_while(|byte| **byte == 0).count();
            let significant = &modulus[zeroes..];
            significant.len() * 8 - significant.first().map_or(0, |byte| byte.leading_zeros() as usize)
        })
    }
}

/// Believes tokens that another service has signed.
///
/// A token's claims are `sub` (the user's id), `exp` (required), and where given `nbf`, `name`, `role` (`member` unless
/// given), `aud` and `iss`. A user needs no account. Nothing that a token names is ever fetched, and there is no leeway
/// for clocks: `exp` is the moment at which a socket is closed.
///
/// ```
/// use chat_server::{JwtAuth, JwtKey};
/// let key = JwtKey::secret(b"0123456789abcdef0123456789abcdef")?;
/// let auth = JwtAuth::new(key).issuer("https://accounts.example").audience("chat");
/// # drop(auth);
/// # Ok::<(), chat_server::InvalidKey>(())
/// ```
#[derive(Debug, Clone)]
pub struct JwtAuth {
    key: JwtKey,
    validation: Validation,
}

/// What a token says.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: serde_json::Number,
    aud: Option<IgnoredAny>,
    iss: Option<String>,
    name: Option<String>,
    role: Option<String>,
}

impl JwtAuth {
    /// Tokens of any issuer and for nobody in particular, that fit this key.
    pub fn new(key: JwtKey) -> Self {
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Self { key, validation }
    }

    /// Takes only tokens that name this audience. Unless it is called, a token that names any is refused, as RFC 7519
    /// (section 4.1.3) wants it.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.validation.set_audience(&[audience]);
        self.validation.required_spec_claims.insert("aud".into());
        self
    }

    /// Takes only tokens of this issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims.insert("iss".into());
        self
    }

    /// Who a token is about.
    ///
    /// # Errors
    /// [`AuthError::Refused`] for every token that does not count.
    pub fn verify(&self, token: &str) -> Result<Grant, AuthError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.check(token, now).ok_or(AuthError::Refused)
    }

    fn check(&self, token: &str, now: Duration) -> Option<Grant> {
        if !is_token(token) || !is_plain(&decode_header(token).ok()?) {
            return None;
        }
        let TokenData { claims, .. } = decode::<Claims>(token, &self.key.key, &self.validation).ok()?;
        // The library passes over an audience that is neither a text nor a list.
        if claims.aud.is_some() && self.validation.aud.is_none() {
            return None;
        }
        // And it takes a list of issuers, of which a token has one (RFC 7519, section 4.1.1).
        if claims.iss.is_none() && self.validation.iss.is_some() {
            return None;
        }
        let expires_at = in_ms(&claims.exp)?;
        let is_valid = u128::from(expires_at.0.cast_unsigned()) > now.as_millis();
        let role = claims.role.map_or(Some(Role::Member), |role| Role::parse(&role))?;
        let mut identity = Identity::new(&claims.sub).ok()?.with_role(role);
        if let Some(name) = claims.name {
            check_label("name", &name, NAME_BYTES_MAX).ok()?;
            identity = identity.with_name(&name);
        }
        is_valid.then(|| Grant::from(identity).until(expires_at))
    }
}

/// Whether a header only says what it must. A key that comes with the token, or from where the token says, proves
/// nothing; what is critical to the issuer is not understood here; and a key's id is a name, no path.
fn is_plain(header: &Header) -> bool {
    let names_a_key = header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.crit.is_some();
    let is_name = |kid: &String| kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:=+".contains(&b));
    !names_a_key && header.kid.as_ref().is_none_or(is_name)
}

/// A `NumericDate` (RFC 7519, section 2): seconds, which may have a fraction. Past what a date can be: `None`.
fn in_ms(date: &serde_json::Number) -> Option<Timestamp> {
    let ms = match date.as_u64() {
        Some(seconds) => seconds.checked_mul(1000)?,
        None => Duration::try_from_secs_f64(date.as_f64()?).ok()?.as_millis().try_into().ok()?,
    };
    (ms <= SAFE_INTEGER_MAX).then(|| i64::try_from(ms).map(Timestamp).ok())?
}

impl Authenticator for JwtAuth {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move { self.verify(token_of(request)?) })
    }

    fn authenticate_token<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Grant, AuthError>> {
        Box::pin(async move { self.verify(token.expose()) })
    }

    fn sign_in(&self) -> SignIn {
        SignIn::Token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! key {
        ($name:literal) => {
            include_str!(concat!("../../tests/keys/", $name))
        };
    }

    #[test]
    fn the_kind_of_a_public_key_decides_the_algorithm() {
        for (pem, algorithm) in [
            (key!("rsa.pub.pem"), Algorithm::RS256),
            (key!("rsa_pkcs1.pub.pem"), Algorithm::RS256),
            (key!("p256.pub.pem"), Algorithm::ES256),
            (key!("ed25519.pub.pem"), Algorithm::EdDSA),
        ] {
            assert_eq!(JwtKey::public_pem(pem).unwrap().algorithm, algorithm);
            JwtKey::public_pem(&format!("\n{}\n", pem.replace('\n', "\r\n"))).unwrap();
        }
    }

    #[test]
    fn what_is_no_fit_key_is_refused_by_its_reason() {
        for (pem, reason) in [
            ("", InvalidKey::NoPublicKey),
            ("secret", InvalidKey::NoPublicKey),
            (key!("rsa.pem"), InvalidKey::NoPublicKey),
            (key!("certificate.pem"), InvalidKey::NoPublicKey),
            (key!("p384.pub.pem"), InvalidKey::UnknownKind),
            (key!("rsa_1024.pub.pem"), InvalidKey::ShortRsa),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", InvalidKey::UnknownKind),
        ] {
            assert_eq!(JwtKey::public_pem(pem).unwrap_err(), reason, "{pem}");
        }
        let two = format!("{0}{0}", key!("p256.pub.pem"));
        assert_eq!(JwtKey::public_pem(&two).unwrap_err(), InvalidKey::NoPublicKey);
        assert_eq!(JwtKey::secret(&[7; 31]).unwrap_err(), InvalidKey::ShortSecret);
        assert_eq!(JwtKey::secret(key!("rsa.pub.pem").as_bytes()).unwrap_err(), InvalidKey::PemSecret);
        let debug = format!("{:?}", JwtAuth::new(JwtKey::secret(&[b'x'; 32]).unwrap()));
        assert!(!debug.contains("xxx") && !debug.contains("120, 120"), "{debug}");
    }

    #[test]
    fn a_date_is_exact_or_refused() {
        let ms = |text: &str| in_ms(&serde_json::from_str(text).unwrap()).map(|at| at.0);
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("1764000000"), Some(1_764_000_000_000));
        assert_eq!(ms("1.25"), Some(1250));
        for bad in ["-1", "-0.5", "1e300", "18446744073709551615", "9007199254741"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_bit_of_a_token_may_be_another() {
        let claims = serde_json::json!({ "sub": "ann", "exp": 4_000_000_000_u64 });
        let secret = [7; 32];
        let key = jsonwebtoken::EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        let auth = JwtAuth::new(JwtKey::secret(&secret).unwrap());
        auth.verify(&token).unwrap();
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(flipped) = String::from_utf8(bytes) else { continue };
                assert!(auth.verify(&flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
