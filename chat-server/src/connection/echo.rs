//! A conversation that only repeats: for suites that try whether a server speaks RFC 6455.

use std::{
    future::pending,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chat_core::{
    ids::{ConnId, UserId},
    protocol::codec::put_frame,
};
use hyper::upgrade::OnUpgrade;
use tokio::{net::TcpListener, time::Instant};

use super::{Exit, Settings, conversation::Conversation, handshake::Handshake, upgrade::start};
use crate::{
    admission::{Admission, SocketPermit},
    lifecycle::Lifecycle,
    listen::{self, Door},
    peer::Proxies,
};

/// FIN and opcode 2: a whole binary message.
const BINARY: u8 = 0x82;

/// How faithfully an echo repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// Every byte.
    Exact,
    /// All but the last byte of each message: to see that a suite notices.
    Lossy,
}

/// Takes sockets on every path, for ever: each message of up to `message_bytes_max` comes back as it went, text or
/// binary. All but what is said is as in a real server.
pub async fn serve_echo(listener: TcpListener, message_bytes_max: usize, fidelity: Fidelity) {
    let lifecycle = Lifecycle::default();
    let endpoint = Endpoint { message_bytes_max, fidelity, lifecycle: lifecycle.clone() };
    let app = Router::new().fallback(open).with_state(endpoint);
    let (admission, proxies) = (Admission::unlimited(), Proxies::default());
    listen::accept(listener, Door { app, admission, proxies, lifecycle, tls: None }, pending()).await;
}

#[derive(Debug, Clone)]
struct Endpoint {
    message_bytes_max: usize,
    fidelity: Fidelity,
    lifecycle: Lifecycle,
}

async fn open(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let handshake = match Handshake::check(&parts) {
        Ok(handshake) => handshake,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return StatusCode::UPGRADE_REQUIRED.into_response();
    };
    let Endpoint { message_bytes_max, fidelity, lifecycle } = endpoint;
    let settings =
        Settings { message_bytes_max, lifecycle: lifecycle.clone(), permit: SocketPermit::default() };
    lifecycle.spawn(async move {
        // A client that is gone by now has no use for an echo.
        if let Ok(upgraded) = upgrade.await {
            start(upgraded, Echo { frame: Bytes::new(), fidelity }, settings);
        }
    });
    (StatusCode::SWITCHING_PROTOCOLS, handshake.answer()).into_response()
}

/// Takes one message at a time.
#[derive(Debug)]
struct Echo {
    /// What is to be repeated.
    frame: Bytes,
    fidelity: Fidelity,
}

impl Echo {
    fn repeat(&self, payload: &[u8]) -> Vec<u8> {
        let kept_bytes = match self.fidelity {
            Fidelity::Exact => payload.len(),
            Fidelity::Lossy => payload.len().saturating_sub(1),
        };
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| out.extend(payload.iter().take(kept_bytes)));
        frame
    }
}

impl Conversation for Echo {
    fn wants_input(&self) -> bool {
        self.frame.is_empty()
    }

    fn handle_text(&mut self, text: &str) -> Result<(), Exit> {
        self.frame = self.repeat(text.as_bytes()).into();
        Ok(())
    }

    fn handle_binary(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        let mut frame = self.repeat(bytes);
        frame[0] = BINARY;
        self.frame = frame.into();
        Ok(())
    }

    fn poll_bytes(&mut self, _: &mut Context<'_>) -> Result<Poll<Bytes>, Exit> {
        // Nothing but a message brings something new, and that wakes the task anyway.
        let frame = std::mem::take(&mut self.frame);
        Ok(if frame.is_empty() { Poll::Pending } else { Poll::Ready(frame) })
    }

    fn is_idle(&self) -> bool {
        self.frame.is_empty()
    }

    fn due_at(&self) -> Option<Instant> {
        None
    }

    fn handle_time(&mut self, _: Instant) -> Result<(), Exit> {
        Ok(())
    }

    fn who(&self) -> Option<(ConnId, &UserId)> {
        None
    }
}
