//! The numbered and named ways in which a command or a connection fails.

use std::{borrow::Cow, fmt};

use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// Why a command failed, as a client reads it. The connection stays open.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// Not JSON, or not one JSON object.
    BadJson = "bad_json",
    /// A `type` that this server does not know.
    UnknownCommand = "unknown_command",
    /// A field is missing or has a value that it cannot have; the message names it.
    Invalid = "invalid",
    /// Nobody is logged in.
    Unauthorized = "unauthorized",
    /// The user may see the thing, but not do this to it.
    Forbidden = "forbidden",
    /// No such room or message, or none that this user may read.
    NotFound = "not_found",
    /// The command needs a `join` on this connection first.
    NotJoined = "not_joined",
    /// Something else was there first.
    Conflict = "conflict",
    /// Longer than the limits of `welcome`.
    TooLarge = "too_large",
    /// Too often; try again after `retry_after_ms`.
    RateLimited = "rate_limited",
    /// The server has more to do than it can; try again after `retry_after_ms`.
    Overloaded = "overloaded",
    /// The store did not answer. The command may or may not have been kept; the same key sent again settles it.
    Unavailable = "unavailable",
    /// Our own bug, or a store that refuses this one item.
    Internal = "internal",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A failed command: the reply that its sender gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct CommandError {
    /// What a program acts on.
    pub code: ErrorCode,
    /// One plain sentence for a person. It never repeats what the client sent.
    pub message: Cow<'static, str>,
    /// Milliseconds after which another try makes sense.
    pub retry_after_ms: Option<u64>,
}

impl CommandError {
    /// An error with nothing to wait for.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// Adds the time after which another try makes sense.
    #[must_use]
    pub const fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// `invalid`: `field` is missing or cannot have this value; `rule` says what it can have.
    pub fn invalid(field: &str, rule: &str) -> Self {
        Self::new(ErrorCode::Invalid, format!("{field}: {rule}"))
    }

    /// `too_large`: `field` has more than `bytes_max` bytes.
    pub fn too_large(field: &str, bytes_max: usize) -> Self {
        Self::new(ErrorCode::TooLarge, format!("{field}: at most {bytes_max} bytes"))
    }

    /// `not_found` for a room: also where it is there but not for this user.
    pub const fn no_such_room() -> Self {
        Self {
            code: ErrorCode::NotFound,
            message: Cow::Borrowed("there is no such room"),
            retry_after_ms: None,
        }
    }

    /// `unavailable`: the store did not answer.
    pub const fn unavailable() -> Self {
        Self {
            code: ErrorCode::Unavailable,
            message: Cow::Borrowed(
                "the store does not answer; the same key sent again settles whether a message was kept",
            ),
            retry_after_ms: Some(1000),
        }
    }

    /// `overloaded`: too much waits for the store.
    pub const fn overloaded() -> Self {
        Self {
            code: ErrorCode::Overloaded,
            message: Cow::Borrowed("too many commands wait for the store"),
            retry_after_ms: Some(1000),
        }
    }
}

/// Why a connection ends: the close code of RFC 6455 and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The peer closed, or the server has nothing to say.
    Normal,
    /// The server drains: come back after a random wait.
    Drain,
    /// The peer broke RFC 6455.
    Protocol,
    /// A binary frame on a JSON subprotocol.
    Unsupported,
    /// Text that is not UTF-8.
    BadUtf8,
    /// Frames in abusive number.
    Policy,
    /// A frame or message over the limit.
    TooLarge,
    /// Our own bug on this connection.
    Internal,
    /// Not authenticated, expired or revoked.
    Unauthenticated,
    /// Banned from the server.
    Banned,
    /// No byte moved to this reader for too long.
    TooSlow,
    /// No answer to pings.
    Unresponsive,
    /// Kept flooding after `rate_limited`.
    Flooding,
}

impl CloseCode {
    /// The number in the close frame.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Drain => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::BadUtf8 => 1007,
            Self::Policy => 1008,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Unauthenticated => 4001,
            Self::Banned => 4003,
            Self::TooSlow => 4008,
            Self::Unresponsive => 4009,
            Self::Flooding => 4029,
        }
    }

    /// The reason in the close frame, and the `reason` label of `chat_connections_closed_total`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Drain => "drain",
            Self::Protocol => "protocol_error",
            Self::Unsupported => "unsupported",
            Self::BadUtf8 => "bad_utf8",
            Self::Policy => "policy",
            Self::TooLarge => "too_large",
            Self::Internal => "internal",
            Self::Unauthenticated => "unauthenticated",
            Self::Banned => "banned",
            Self::TooSlow => "too_slow",
            Self::Unresponsive => "unresponsive",
            Self::Flooding => "flooding",
        }
    }
}
