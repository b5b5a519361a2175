//! What tests of a run's parts have in common.

use std::{net::SocketAddr, rc::Rc};

use super::{shared::Shared, user::User, voice::Voice};
use crate::client::{Client, Subprotocol, http::Who};

/// The first user, of one room, `r`, at a server of this address. Nothing has connected yet.
pub(super) fn ann(server: SocketAddr) -> (Rc<User>, Rc<Shared>) {
    let shared = Rc::new(Shared::new(server.into(), Subprotocol::Plain, 20, 1));
    let client = Client::new(Subprotocol::Plain, "k", ["r".to_owned()]);
    let who = Who::Named { user: "u0".to_owned(), role: "member" };
    (Rc::new(User::new(0, who, None, vec![0], &[], Voice::Ours(client))), shared)
}
