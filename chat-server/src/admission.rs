//! How many connections there may be, in all and from one address.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::Extensions;
use chat_core::protocol::{CommandError, ErrorCode};

use crate::{
    error::ApiError,
    limits::{ADDRESS_FULL_RETRY, METRICS_CONNECTIONS_MAX, OVERLOADED_RETRY, SERVER_FULL_RETRY},
    peer::{ClientAddress, Proxies},
    seldom::Seldom,
};

/// The limits, and what is open. A clone counts the same connections.
///
/// The map of addresses is never longer than there are connections.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    pub(crate) connections_max: usize,
    pub(crate) per_address_max: Option<usize>,
    of: Of,
    open: Arc<Mutex<Open>>,
    log: Arc<Mutex<Seldom>>,
}

/// Whose connections these are.
#[derive(Debug, Clone, Copy)]
enum Of {
    Clients,
    /// Of the address that has the metrics alone.
    Metrics,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    by_block: HashMap<Block, usize>,
}

/// What counts as one address. Of IPv6 that is a network of 64 bits: it is what one customer has at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Block {
    V4([u8; 4]),
    V6(u128),
}

impl From<IpAddr> for Block {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.to_bits() >> 64),
        }
    }
}

/// Why a connection is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Server,
    Address,
    /// The server has more to do than it can with those that it has.
    Overload,
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let (code, message, retry) = match full {
            Full::Server => {
                (ErrorCode::Overloaded, "the server has all the connections it takes", SERVER_FULL_RETRY)
            }
            Full::Overload => {
                (ErrorCode::Overloaded, "the server has more to do than it can", OVERLOADED_RETRY)
            }
            Full::Address => (
                ErrorCode::RateLimited,
                "there are too many connections from this address",
                ADDRESS_FULL_RETRY,
            ),
        };
        CommandError::new(code, message)
            .retry_after_ms(retry.as_millis().try_into().unwrap_or(u64::MAX))
            .into()
    }
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    open: Arc<Mutex<Open>>,
    is_connection: bool,
    block: Option<Block>,
}

/// The places of a WebSocket: its TCP connection's, which the requests before it have shared, and its client's where
/// the TCP connection is a proxy's.
#[derive(Debug, Default)]
pub(crate) struct SocketPermit {
    _connection: Option<Arc<Permit>>,
    /// Boxed, as most sockets have none.
    _client: Option<Box<Permit>>,
}

impl Admission {
    pub(crate) fn unlimited() -> Self {
        Self::new(usize::MAX, Of::Clients)
    }

    /// Those of the address that has the metrics alone.
    pub(crate) fn of_metrics() -> Self {
        Self::new(METRICS_CONNECTIONS_MAX, Of::Metrics)
    }

    fn new(connections_max: usize, of: Of) -> Self {
        Self { connections_max, per_address_max: None, of, open: Arc::default(), log: Arc::default() }
    }

    /// A place for a TCP connection. It counts for its peer's address, unless that is a proxy's.
    pub(crate) fn connection(&self, peer: IpAddr, proxies: &Proxies) -> Result<Permit, Full> {
        let place = self.find_place((!proxies.trust(peer)).then_some(peer));
        place.inspect_err(|full| self.note_refused(Some(peer), *full))
    }

    fn find_place(&self, peer: Option<IpAddr>) -> Result<Permit, Full> {
        let mut open = lock(&self.open);
        if open.connections >= self.connections_max {
            return Err(Full::Server);
        }
        let block = peer.map(|ip| self.count_block(&mut open, ip)).transpose()?.flatten();
        open.connections += 1;
        Ok(Permit { open: Arc::clone(&self.open), is_connection: true, block })
    }

    /// The place of a request's connection, which is about to become a WebSocket. Behind a proxy the client's address
    /// is counted now: a proxy's connections are everybody's, but a WebSocket is one client's.
    pub(crate) fn socket(&self, request: &mut Extensions) -> Result<SocketPermit, Full> {
        let connection = request.remove::<Arc<Permit>>();
        let is_counted = connection.as_ref().is_none_or(|permit| permit.block.is_some());
        let client = match request.get::<ClientAddress>() {
            Some(client) if !is_counted && client.is_passed_on() => {
                let counted = self.count_block(&mut lock(&self.open), client.ip());
                let block = counted.inspect_err(|full| self.note_refused(Some(client.ip()), *full))?;
                Some(Box::new(Permit { open: Arc::clone(&self.open), is_connection: false, block }))
            }
            _ => None,
        };
        Ok(SocketPermit { _connection: connection, _client: client })
    }

    /// Turns away a socket, whatever place there is: the server has too much to do.
    pub(crate) fn turn_away(&self, request: &Extensions) -> Full {
        self.note_refused(request.get::<ClientAddress>().map(ClientAddress::ip), Full::Overload);
        Full::Overload
    }

    fn note_refused(&self, client: Option<IpAddr>, full: Full) {
        let reason = match (self.of, full) {
            (Of::Clients, Full::Server) => "server_full",
            (Of::Clients, Full::Address) => "address_full",
            (Of::Clients, Full::Overload) => "overloaded",
            (Of::Metrics, _) => "metrics_full",
        };
        metrics::counter!("chat_connections_refused_total", "reason" => reason).increment(1);
        let speaks = self.log.lock().unwrap_or_else(PoisonError::into_inner).speak();
        if let Some(unsaid) = speaks {
            tracing::warn!(
                client = client.map(tracing::field::display),
                reason,
                unsaid,
                "a connection was refused"
            );
        }
    }

    /// Counts one more for an address; nothing where addresses have no limit.
    fn count_block(&self, open: &mut Open, ip: IpAddr) -> Result<Option<Block>, Full> {
        let Some(max) = self.per_address_max else { return Ok(None) };
        let block = Block::from(ip);
        let count = open.by_block.get(&block).copied().unwrap_or(0);
        if count >= max {
            return Err(Full::Address);
        }
        open.by_block.insert(block, count + 1);
        Ok(Some(block))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.connections -= usize::from(self.is_connection);
        if let Some(Entry::Occupied(mut count)) = self.block.map(|block| open.by_block.entry(block)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The counts are right even where a holder of the lock panicked: each is changed in one step.
fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize, per_address_max: usize) -> Admission {
        Admission { per_address_max: Some(per_address_max), connections_max, ..Admission::unlimited() }
    }

    /// A place for a peer with this address.
    fn place(admission: &Admission, ip: &str) -> Result<Permit, Full> {
        admission.connection(ip.parse().unwrap(), &Proxies::default())
    }

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let admission = admission(100, 2);
        let held = [place(&admission, "192.0.2.1").unwrap(), place(&admission, "::ffff:192.0.2.1").unwrap()];
        assert_eq!(place(&admission, "192.0.2.1").unwrap_err(), Full::Address);
        place(&admission, "192.0.2.2").unwrap();
        drop(held);
        place(&admission, "192.0.2.1").unwrap();
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let admission = admission(100, 1);
        let _held = place(&admission, "2001:db8:0:1::1").unwrap();
        assert_eq!(place(&admission, "2001:db8:0:1:ffff::2").unwrap_err(), Full::Address);
        place(&admission, "2001:db8:0:2::1").unwrap();
    }

    #[test]
    fn the_server_has_its_limit_also_for_proxies() {
        let admission = admission(2, 2);
        let held = [admission.find_place(None).unwrap(), place(&admission, "192.0.2.1").unwrap()];
        assert_eq!(admission.find_place(None).unwrap_err(), Full::Server);
        assert_eq!(place(&admission, "192.0.2.2").unwrap_err(), Full::Server);
        drop(held);
        admission.find_place(None).unwrap();
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone() {
        let admission = admission(1000, 1);
        for n in 0..=255 {
            let address = IpAddr::from([192, 0, 2, n]);
            let _first = admission.find_place(Some(address)).unwrap();
            assert_eq!(admission.find_place(Some(address)).unwrap_err(), Full::Address);
        }
        let open = lock(&admission.open);
        assert_eq!((open.connections, open.by_block.len()), (0, 0));
    }
}
