//! From a request to a connection.

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::ALLOW},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chat_core::Strain;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{
    Connection, Settings,
    conversation::Conversation,
    doorkeeper::Doorkeeper,
    handshake::{Handshake, upgrade_headers},
    transport::{self, Counted, Opaque, Transport},
};
use crate::{Server, auth::AuthError, error::ApiError, listen::Patient, peer::scheme_of};

/// Serves `/ws`.
pub(crate) async fn open(State(server): State<Server>, request: Request) -> Response {
    match accept(server, request).await {
        Ok(answer) => answer,
        Err(refusal) => {
            let status = refusal.status();
            let mut answer = refusal.into_response();
            match status {
                StatusCode::UPGRADE_REQUIRED => answer.headers_mut().extend(upgrade_headers()),
                StatusCode::METHOD_NOT_ALLOWED => {
                    answer.headers_mut().insert(ALLOW, axum::http::HeaderValue::from_static("GET"));
                }
                _ => {}
            }
            answer
        }
    }
}

async fn accept(server: Server, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let handshake = Handshake::check(&parts)?;
    server.origins().check(&parts.headers, scheme_of(&parts.extensions))?;
    if server.engine().strain() >= Strain::RefuseConnections {
        return Err(server.admission().turn_away(&parts.extensions).into());
    }
    // Before anything that costs: whoever has too many connections is not even asked for a name.
    let permit = server.admission().socket(&mut parts.extensions)?;
    let grant = match server.authentication().of_request(&parts).await {
        Ok(grant) => Some(grant),
        // Its first frame may say it yet.
        Err(AuthError::Missing) => None,
        Err(refusal) => return Err(refusal.into()),
    };
    if server.lifecycle().is_draining() {
        return Err(ApiError::draining());
    }
    let Some(upgrade) = parts.extensions.remove::<OnUpgrade>() else {
        return Err(ApiError::invalid(StatusCode::UPGRADE_REQUIRED, "this connection cannot be upgraded"));
    };
    let answer = (StatusCode::SWITCHING_PROTOCOLS, handshake.answer()).into_response();
    let lifecycle = server.lifecycle().clone();
    lifecycle.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let settings = Settings {
                    message_bytes_max: server.engine().limits().frame_bytes,
                    lifecycle: server.lifecycle().clone(),
                    permit,
                };
                start(upgraded, Doorkeeper::new(server, handshake.codec(), grant), settings);
            }
            Err(error) => tracing::debug!(%error, "a connection was lost before its upgrade"),
        }
    });
    Ok(answer)
}

/// Starts the connection's own task, which outlives the one of its upgrade and is as small as it can be.
pub(super) fn start(upgraded: Upgraded, conversation: impl Conversation, settings: Settings) {
    // As this server's own listener has it, or as `axum::serve` does.
    let upgraded = match transport::take::<Patient<TcpStream>>(upgraded) {
        Ok((stream, part)) => return start_over(stream.into_inner(), part, conversation, settings),
        Err(upgraded) => upgraded,
    };
    let upgraded = match transport::take::<Patient<TlsStream<Counted<TcpStream>>>>(upgraded) {
        Ok((stream, part)) => return start_over(stream.into_inner(), part, conversation, settings),
        Err(upgraded) => upgraded,
    };
    match transport::take::<TcpStream>(upgraded) {
        Ok((stream, part)) => start_over(stream, part, conversation, settings),
        Err(upgraded) => start_over(Opaque::new(upgraded), Bytes::new(), conversation, settings),
    }
}

fn start_over<S: Transport, C: Conversation>(stream: S, part: Bytes, conversation: C, settings: Settings) {
    tracing::trace!(stream = std::any::type_name::<S>(), "a socket begins");
    let lifecycle = settings.lifecycle.clone();
    lifecycle.spawn(Connection::new(stream, part, conversation, settings));
}
