//! Where a request comes from: from a peer itself, or through proxies that may be believed.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{Extensions, HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

use crate::{Server, origin::Scheme};

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";

/// Who is at the other end of a request: an extension of each whose connection is known.
///
/// It is the peer's address, unless the peer is a trusted proxy
/// ([`ServerBuilder::trust_proxies`](crate::ServerBuilder::trust_proxies)): then it is the right-most address of
/// `X-Forwarded-For` that is no trusted proxy's. What anybody else says in that header changes nothing.
///
/// ```
/// use axum::http::request::Parts;
/// use chat_server::ClientAddress;
///
/// /// For example in an [`Authenticator`](chat_server::Authenticator), to count failures.
/// fn address_of(request: &Parts) -> Option<std::net::IpAddr> {
///     request.extensions.get::<ClientAddress>().map(ClientAddress::ip)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    ip: IpAddr,
    known: Known,
}

/// How an address is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The connection has it, and nothing speaks against it.
    ByConnection,
    /// A trusted proxy named it.
    ByProxy,
    /// The request was passed on, or says so, and nobody who is believed says by whom. It is the last address that is
    /// sure, and somebody else may be behind it.
    InPart,
}

impl ClientAddress {
    /// The address; an IPv4 address is never written as an IPv6 one.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether the request comes from this machine, and was not passed on by something that runs on it.
    pub(crate) const fn is_local(&self) -> bool {
        self.ip.is_loopback() && !matches!(self.known, Known::InPart)
    }

    /// Whether the peer of the connection is somebody else.
    pub(crate) const fn is_passed_on(&self) -> bool {
        !matches!(self.known, Known::ByConnection)
    }
}

/// The proxies that are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(crate) fn trust(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Walks `X-Forwarded-For` from its right end, where the nearest proxy wrote, for as long as there is trust.
    fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let peer = peer.to_canonical();
        let mut entries = forwarded_for(headers).peekable();
        if entries.peek().is_none() || !self.trust(peer) {
            let is_passed_on = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED);
            let known = if is_passed_on { Known::InPart } else { Known::ByConnection };
            return ClientAddress { ip: peer, known };
        }
        let mut ip = peer;
        for entry in entries {
            // Whoever stands further left was named by somebody who writes no addresses.
            let Some(named) = entry.and_then(address) else {
                return ClientAddress { ip, known: Known::InPart };
            };
            ip = named;
            if !self.trust(ip) {
                break;
            }
        }
        ClientAddress { ip, known: Known::ByProxy }
    }

    /// The scheme that the client used: the connection's own, unless a trusted proxy names one.
    fn scheme(&self, peer: IpAddr, headers: &HeaderMap, own: Scheme) -> Scheme {
        let mut named = headers.get_all(FORWARDED_PROTO).into_iter();
        match (named.next().map(HeaderValue::as_bytes), named.next()) {
            (Some(scheme), None) if self.trust(peer) => match scheme {
                _ if scheme.eq_ignore_ascii_case(b"https") => Scheme::Https,
                _ if scheme.eq_ignore_ascii_case(b"http") => Scheme::Http,
                _ => own,
            },
            _ => own,
        }
    }
}

/// The entries of all `X-Forwarded-For` headers, the last one first; `None` for one that is no text. As in every list
/// of HTTP (RFC 9110, section 5.6.1), those with nothing in them do not count.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<&str>> {
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    lines
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .map(|entry| std::str::from_utf8(entry).ok())
}

/// An address as proxies write it: by itself, with a port, or in brackets.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bare {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => {
            entry.parse().or_else(|_| entry.parse::<SocketAddr>().map(|with_port| with_port.ip())).ok()?
        }
    };
    Some(ip.to_canonical())
}

/// Notes for everybody who serves a request where it comes from, and under which scheme.
pub(crate) async fn identify(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    if let Some(peer) = peer {
        let client = server.proxies().client_address(peer, request.headers());
        let scheme = server.proxies().scheme(peer, request.headers(), scheme_of(request.extensions()));
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(scheme);
    }
    next.run(request).await
}

/// The scheme under which a request came.
pub(crate) fn scheme_of(extensions: &Extensions) -> Scheme {
    extensions.get().copied().unwrap_or(Scheme::Http)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> Proxies {
        Proxies::new(["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec())
    }

    /// The client's address as text, and whether it counts as this machine.
    fn client(peer: &str, lines: &[&'static [u8]]) -> (String, bool) {
        let line = |line: &&'static [u8]| (FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        let client = proxies().client_address(peer.parse().unwrap(), &headers);
        (client.ip().to_string(), client.is_local())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_clients() {
        let cases: [(&[&'static [u8]], &str); 10] = [
            (&[b"203.0.113.9"], "203.0.113.9"),
            (&[b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&[b"1.1.1.1, 203.0.113.9, 10.3.4.5,10.0.0.1"], "203.0.113.9"),
            (&[b"1.1.1.1", b"203.0.113.9", b"10.3.4.5"], "203.0.113.9"),
            (&[b"junk, 203.0.113.9"], "203.0.113.9"),
            (&[b", 203.0.113.9 ,, "], "203.0.113.9"),
            (&[b"203.0.113.9:4711"], "203.0.113.9"),
            (&[b"[2001:db8::1]:4711"], "2001:db8::1"),
            (&[b"[2001:db8::1]"], "2001:db8::1"),
            (&[b"2001:db8::1, ::ffff:10.1.1.1"], "2001:db8::1"),
        ];
        for (lines, ip) in cases {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1", "127.0.0.1"] {
                assert_eq!(client(peer, lines), (ip.to_owned(), false), "{peer}: {lines:?}");
            }
        }
    }

    #[test]
    fn nobody_but_a_proxy_is_believed() {
        for line in [&b"203.0.113.9"[..], b"127.0.0.1", b"10.0.0.1", b"junk"] {
            assert_eq!(client("192.0.2.7", &[line]), ("192.0.2.7".to_owned(), false));
            assert_eq!(client("::1", &[line]), ("::1".to_owned(), false), "another loopback address");
        }
        assert_eq!(client("192.0.2.7", &[]), ("192.0.2.7".to_owned(), false));
        assert_eq!(client("::ffff:127.0.0.1", &[]), ("127.0.0.1".to_owned(), true));
    }

    #[test]
    fn behind_junk_nobody_is_known() {
        for junk in [
            &b"unknown"[..],
            b"_hidden",
            b"999.1.1.1",
            b"[10.0.0.1]",
            b"1.1.1.1:99999",
            b"fe80::1%eth0",
            b"\xff",
        ] {
            assert_eq!(client("127.0.0.1", &[b"203.0.113.9", junk]), ("127.0.0.1".to_owned(), false));
            assert_eq!(client("127.0.0.1", &[junk, b"10.0.0.9"]), ("10.0.0.9".to_owned(), false));
        }
        assert_eq!(client("127.0.0.1", &[b" , "]), ("127.0.0.1".to_owned(), false));
    }

    #[test]
    fn the_machine_itself_is_known_through_its_proxy_too() {
        assert_eq!(client("127.0.0.1", &[b"127.0.0.1"]), ("127.0.0.1".to_owned(), true));
        assert_eq!(client("127.0.0.1", &[b"::1"]), ("::1".to_owned(), true));
        assert_eq!(client("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"]), ("10.0.0.3".to_owned(), false));
    }

    #[test]
    fn only_a_proxy_says_which_scheme_it_was() {
        let scheme = |peer: &str, values: &[&'static str], own| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_PROTO, HeaderValue::from_static(value));
            }
            proxies().scheme(peer.parse().unwrap(), &headers, own)
        };
        let (http, https) = (Scheme::Http, Scheme::Https);
        assert_eq!(scheme("10.0.0.1", &["https"], http), https);
        assert_eq!(scheme("10.0.0.1", &["HTTP"], https), http);
        assert_eq!(scheme("192.0.2.7", &["https"], http), http);
        for unclear in [&["https", "http"][..], &["https,http"], &["wss"], &[]] {
            assert_eq!(scheme("10.0.0.1", unclear, http), http, "{unclear:?}");
        }
    }
}
