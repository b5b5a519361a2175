//! What handlers ask of a request.

use std::{collections::BTreeMap, fmt};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
        request::Parts,
    },
};
use chat_core::{
    Identity,
    ids::{RoomId, SAFE_INTEGER_MAX, Seq, UserId},
    protocol::{CommandError, Json, hides_nothing},
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::ApiError;
use crate::{
    Server,
    limits::{BODY_BYTES_MAX, BODY_WAIT_MAX},
    query::Query,
    rates::Effort,
};

/// Who asks. Each request is counted: see [`Rates`](crate::rates::Rates).
#[derive(Debug)]
pub(super) struct Caller(pub(super) Identity);

impl FromRequestParts<Server> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Server) -> Result<Self, ApiError> {
        let who = state.authentication().of_request(parts).await?.identity;
        if let Some(rates) = state.rates() {
            rates.arrive();
            rates.check(&who.user, Effort::of_method(&parts.method))?;
        }
        Ok(Self(who))
    }
}

/// The room in the path. What can be no room's id is a room that is not there.
#[derive(Debug)]
pub(super) struct RoomPath(pub(super) RoomId);

impl FromRequestParts<Server> for RoomPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Server) -> Result<Self, ApiError> {
        let room = path_parameter(parts, state, "room").await?;
        RoomId::new(&room).map(Self).map_err(|_invalid| CommandError::no_such_room().into())
    }
}

/// The user in the path.
#[derive(Debug)]
pub(super) struct UserPath(pub(super) UserId);

impl FromRequestParts<Server> for UserPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Server) -> Result<Self, ApiError> {
        let user = path_parameter(parts, state, "user").await?;
        UserId::new(&user).map(Self).map_err(|invalid| ApiError::parameter("user", &invalid.to_string()))
    }
}

async fn path_parameter(parts: &mut Parts, server: &Server, name: &str) -> Result<String, ApiError> {
    // What is not UTF-8 names nothing that is there.
    let parameters =
        RawPathParams::from_request_parts(parts, server).await.map_err(|_not_utf8| ApiError::not_found())?;
    let found = parameters.iter().find(|(found, _)| *found == name);
    found.map(|(_, value)| value.to_owned()).ok_or_else(ApiError::not_found)
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.uri))
    }
}

/// A JSON body: the fields of one object, found but not yet read, so that a wrong one can be named.
///
/// Fields that nobody asks for are ignored; `null` is as good as absent.
#[derive(Debug)]
pub(super) struct Fields(BTreeMap<String, Box<RawValue>>);

impl FromRequest<Server> for Fields {
    type Rejection = ApiError;

    async fn from_request(req: Request, state: &Server) -> Result<Self, ApiError> {
        if !is_json(req.headers()) {
            let message = "the body must be application/json";
            return Err(ApiError::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        if announced_bytes(req.headers()).is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(ApiError::body_too_large(BODY_BYTES_MAX));
        }
        let late = || ApiError::invalid(StatusCode::REQUEST_TIMEOUT, "the body took too long");
        let arrival = tokio::time::timeout(BODY_WAIT_MAX, Bytes::from_request(req, state));
        let body =
            arrival.await.map_err(|_elapsed| late())?.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::body_too_large(BODY_BYTES_MAX),
                status => ApiError::invalid(status, "the body could not be read"),
            })?;
        let text = std::str::from_utf8(&body).ok().filter(|text| hides_nothing(text));
        text.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(ApiError::bad_json)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mime = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next());
    mime.is_some_and(|mime| mime.trim().eq_ignore_ascii_case("application/json"))
}

/// The body's length where it is announced, so that one that is too long need not come first.
fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Fields {
    /// A field's value; `None` where it is not there.
    ///
    /// # Errors
    /// `invalid` where it is something else than a `T`; `rule` says what it must be.
    pub(super) fn value<T: DeserializeOwned>(
        &self,
        field: &'static str,
        rule: &str,
    ) -> Result<Option<T>, CommandError> {
        let Some(raw) = self.0.get(field) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|_other| CommandError::invalid(field, rule))
    }

    pub(super) fn string(&self, field: &'static str) -> Result<Option<String>, CommandError> {
        self.value(field, "must be a string")
    }

    pub(super) fn seq(&self, field: &'static str) -> Result<Option<Seq>, CommandError> {
        let rule = "must be an integer from 0 to 2^53-1";
        match self.value(field, rule)? {
            Some(number) if number > SAFE_INTEGER_MAX => Err(CommandError::invalid(field, rule)),
            number => Ok(number.map(Seq)),
        }
    }

    /// JSON that is kept byte for byte.
    pub(super) fn json(&self, field: &'static str) -> Result<Option<Json>, CommandError> {
        match self.0.get(field) {
            None => Ok(None),
            Some(raw) if raw.get() == "null" => Ok(None),
            Some(raw) => {
                Json::parse(raw.get()).map(Some).map_err(|_bad| CommandError::invalid(field, "must be JSON"))
            }
        }
    }

    /// A field whose value is one of some names.
    pub(super) fn named<T>(
        &self,
        field: &'static str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, CommandError> {
        let name = self.value::<String>(field, rule)?;
        name.map(|name| parse(&name).ok_or_else(|| CommandError::invalid(field, rule))).transpose()
    }
}

/// The value of a field that must be there.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, CommandError> {
    value.ok_or_else(|| CommandError::invalid(field, "is missing"))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EachOnce;

        impl<'de> Visitor<'de> for EachOnce {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object, each field once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if fields.insert(name, value).is_some() {
                        return Err(A::Error::custom("a field stands twice"));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(EachOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_body_is_one_object_with_each_field_once() {
        for bad in ["", "null", "[]", "1", "{", r#"{"a":1,"a":1}"#, r#"{"a":1}x"#, &"[".repeat(100_000)] {
            serde_json::from_str::<Fields>(bad).expect_err(bad.get(..20).unwrap_or(bad));
        }
    }

    #[test]
    fn a_wrong_field_is_named_and_an_unknown_one_ignored() {
        let body =
            fields(r#"{"a":"x","b":null,"c":-1,"d":9007199254740992,"e":"\ud800","m":{"n": 1.0},"z":[[]]}"#);
        assert_eq!(body.string("a").unwrap().as_deref(), Some("x"));
        assert_eq!(body.string("b").unwrap(), None);
        assert_eq!(body.json("m").unwrap().unwrap().as_str(), r#"{"n": 1.0}"#);
        for (field, error) in
            [("c", body.seq("c").err()), ("d", body.seq("d").err()), ("e", body.string("e").err())]
        {
            assert!(error.unwrap().message.starts_with(field));
        }
    }
}
