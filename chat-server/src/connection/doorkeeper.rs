//! Between a socket and its session: lets in who proves who they are, and turns away floods.

use std::{
    fmt,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use chat_core::{
    WireSession,
    ids::{ConnId, Timestamp, UserId},
    protocol::{CloseCode, Codec, Command, CommandError, CommandId, ErrorCode, Request, Token},
    store::BoxFuture,
};
use tokio::time::Instant;

use super::{Exit, conversation::Conversation, pace::RefusalPace};
use crate::{
    Server,
    auth::{AuthError, Grant},
    limits::AUTH_WAIT_MAX,
    rates::Effort,
};

/// The conversation of one user, and what comes before it.
///
/// A socket whose request named nobody must say who it is in its first frame. A grant that ends is renewed by another
/// token of the same user and role; whoever wants to be somebody else connects anew.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    server: Server,
    codec: Codec,
    /// The user's session, once somebody has come in.
    session: Option<WireSession>,
    /// Until when the grant holds, or an `auth` frame is waited for.
    until: Option<Instant>,
    /// A token that is being looked at. Nothing is read meanwhile, and what was to end does not: the token came in time.
    check: Option<Box<Check>>,
    refusals: RefusalPace,
}

/// A token that is being looked at, and the command that it came with.
struct Check {
    id: Option<CommandId>,
    answer: BoxFuture<'static, Result<Grant, AuthError>>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Doorkeeper {
    /// The conversation of whoever has this grant; without one, of somebody who has yet to show a token.
    pub(super) fn new(server: Server, codec: Codec, grant: Option<Grant>) -> Self {
        let now = Instant::now();
        let until = Some(now + AUTH_WAIT_MAX);
        let refusals = RefusalPace::new(now);
        let mut doorkeeper = Self { server, codec, session: None, until, check: None, refusals };
        if let Some(grant) = grant {
            doorkeeper.let_in(grant);
        }
        doorkeeper
    }

    fn let_in(&mut self, grant: Grant) {
        if let Some(rates) = self.server.rates() {
            rates.arrive();
        }
        self.until = grant.expires_at.map(instant_of);
        self.session = Some(self.server.engine().attach(grant.identity, self.codec));
    }

    fn begin_check(&mut self, id: Option<CommandId>, token: Token) {
        let server = self.server.clone();
        let answer = Box::pin(async move { server.authentication().of_token(&token).await });
        self.check = Some(Box::new(Check { id, answer }));
    }

    /// Acts on what a token was found to be worth.
    fn finish_check(&mut self, id: Option<CommandId>, answer: Result<Grant, AuthError>) -> Result<(), Exit> {
        let outcome = match (&self.session, answer) {
            (None, Ok(grant)) => {
                self.let_in(grant);
                Ok(())
            }
            (None, Err(AuthError::Unavailable(_))) => return Err(Exit::Close(CloseCode::Internal)),
            (None, Err(_)) => return Err(Exit::Close(CloseCode::Unauthenticated)),
            (Some(session), Ok(grant)) => {
                let is_same =
                    session.who().user == grant.identity.user && session.who().role == grant.identity.role;
                if is_same {
                    self.until = grant.expires_at.map(instant_of);
                    Ok(())
                } else {
                    let message = "this connection is of another user or role: connect anew";
                    Err(CommandError::new(ErrorCode::Unauthorized, message))
                }
            }
            (Some(_), Err(error)) => Err(error.into()),
        };
        if let Some(session) = &mut self.session {
            session.answer(id, outcome);
        }
        Ok(())
    }

    /// The first frame of a socket that nobody is known on.
    fn handle_first(&mut self, text: &str) -> Result<(), Exit> {
        match Request::decode(text) {
            Ok(Request { id, command: Command::Auth(token) }) => {
                self.begin_check(id, token);
                Ok(())
            }
            _ => Err(Exit::Close(CloseCode::Unauthenticated)),
        }
    }
}

impl Conversation for Doorkeeper {
    fn wants_input(&self) -> bool {
        self.check.is_none() && self.session.as_ref().is_none_or(WireSession::wants_input)
    }

    fn handle_text(&mut self, text: &str) -> Result<(), Exit> {
        let Some(session) = &mut self.session else { return self.handle_first(text) };
        let mut request = Request::decode(text);
        if let Some(rates) = self.server.rates()
            && let Err(error) = rates.check(&session.who().user, Effort::of_command(&request))
        {
            if !self.refusals.allows() {
                return Err(Exit::Close(CloseCode::Flooding));
            }
            request = Err(match request {
                Ok(request) => request.refused(error),
                Err(bad) => chat_core::protocol::BadRequest { error, ..bad },
            });
        }
        match request {
            Ok(Request { id, command: Command::Auth(token) }) => self.begin_check(id, token),
            request => session.handle_request(request),
        }
        Ok(())
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Result<(), Exit> {
        if let Some(check) = &mut self.check
            && let Poll::Ready(answer) = check.answer.as_mut().poll(cx)
        {
            let id = check.id;
            self.check = None;
            self.finish_check(id, answer)?;
        }
        Ok(())
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Result<Poll<Bytes>, Exit> {
        Ok(self.session.as_mut().map_or(Poll::Pending, |session| session.poll_bytes(cx)))
    }

    fn is_idle(&self) -> bool {
        self.check.is_none() && self.session.as_ref().is_none_or(WireSession::is_idle)
    }

    fn due_at(&self) -> Option<Instant> {
        self.until.filter(|_| self.check.is_none())
    }

    fn handle_time(&mut self, now: Instant) -> Result<(), Exit> {
        match self.due_at() {
            Some(until) if until <= now => Err(Exit::Close(CloseCode::Unauthenticated)),
            _ => Ok(()),
        }
    }

    fn who(&self) -> Option<(ConnId, &UserId)> {
        self.session.as_ref().map(|session| (session.conn(), &session.who().user))
    }
}

/// When the wall clock will show this, as it now runs; far ahead where that is too far to tell.
fn instant_of(at: Timestamp) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365);
    let at = Duration::from_millis(at.0.try_into().unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + at.saturating_sub(now).min(FAR)
}
