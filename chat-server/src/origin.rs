//! Which web pages may talk to this server.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{HOST, ORIGIN},
};

use crate::error::ApiError;

/// An origin as a browser sends it (RFC 6454): scheme, host and port.
///
/// ```
/// use chat_server::Origin;
/// let origin: Origin = "https://chat.example".parse()?;
/// assert_eq!(origin, "https://chat.example:443".parse()?);
/// assert_ne!(origin, "http://chat.example".parse()?);
/// # Ok::<(), chat_server::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Text that is no origin: one is `http://` or `https://`, a host and at most a port. There are no wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is http:// or https://, a host without wildcards and at most a port")]
pub struct InvalidOrigin;

impl Origin {
    /// The origin of pages that this server itself serves, as the client named it in `Host`.
    fn of_host(scheme: Scheme, host: &HeaderValue) -> Option<Self> {
        Self::from_authority(scheme, host.to_str().ok()?)
    }

    fn from_authority(scheme: Scheme, authority: &str) -> Option<Self> {
        let uri = Uri::try_from(authority).ok()?;
        let authority =
            uri.authority().filter(|found| found.as_str() == authority && !authority.contains('@'))?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // Not one that can be a port.
            None if authority.as_str().len() > authority.host().len() => return None,
            None => scheme.default_port(),
        };
        let host = authority.host().to_ascii_lowercase();
        is_host(&host).then(|| Self { scheme, host: host.into(), port })
    }

    /// Whether its host is an address or the name that is this machine's everywhere: nobody else can give it out.
    fn is_of_no_domain(&self) -> bool {
        &*self.host == "localhost" || self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

/// Whether a browser can be at a host of this name.
fn is_host(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    }
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(is_of_name)
}

impl std::str::FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, authority) = match text.split_once("://") {
            Some(("http", authority)) => (Scheme::Http, authority),
            Some(("https", authority)) => (Scheme::Https, authority),
            _ => return Err(InvalidOrigin),
        };
        Self::from_authority(scheme, authority).ok_or(InvalidOrigin)
    }
}

/// Which page a request comes from, where that one may talk to this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// One of this server's own origin, or none: browsers name that of every page that opens a socket or changes something.
    OwnOrNone,
    /// One of another origin that is allowed, as the browser names it.
    Allowed(HeaderValue),
}

/// The origins that may talk to a server: its own, and those it was told of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Origins {
    allowed: Vec<Origin>,
    names: Names,
}

/// Under which names a server is itself.
#[derive(Debug, Default, Clone, Copy)]
enum Names {
    /// Whatever a request's `Host` says.
    #[default]
    Any,
    /// Addresses, `localhost`, and the hosts of allowed origins.
    Known,
}

impl Origins {
    pub(crate) fn allow(&mut self, origin: Origin) {
        self.allowed.push(origin);
    }

    pub(crate) fn be_known_names_only(&mut self) {
        self.names = Names::Known;
    }

    /// Checks which page a request comes from; under `scheme` it reached this server. Other programs than browsers
    /// send no `Origin`, which is fine.
    ///
    /// # Errors
    /// 400 for two origins, 403 for a foreign one, or one that cannot be read (`null` among them).
    pub(crate) fn check(&self, headers: &HeaderMap, scheme: Scheme) -> Result<Page, ApiError> {
        let mut origins = headers.get_all(ORIGIN).into_iter();
        let header = match (origins.next(), origins.next()) {
            (None, _) => return Ok(Page::OwnOrNone),
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid(StatusCode::BAD_REQUEST, "one Origin header at most"));
            }
            (Some(header), None) => header,
        };
        let origin = header.to_str().ok().and_then(|text| text.parse::<Origin>().ok());
        let own = headers.get(HOST).and_then(|host| Origin::of_host(scheme, host));
        match origin {
            Some(origin) if own.as_ref() == Some(&origin) && self.is_known(&origin) => Ok(Page::OwnOrNone),
            Some(origin) if self.allowed.contains(&origin) => Ok(Page::Allowed(header.clone())),
            _ => Err(ApiError::forbidden("pages of this origin may not talk to this server")),
        }
    }

    /// Whether an origin that is the server's own by the request's `Host` is one by what the server knows, too.
    fn is_known(&self, own: &Origin) -> bool {
        match self.names {
            Names::Any => true,
            Names::Known => {
                own.is_of_no_domain() || self.allowed.iter().any(|allowed| allowed.host == own.host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_under(scheme: Scheme, host: &'static str, origins: &[&'static str]) -> u16 {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_static(origin));
        }
        let mut allowed = Origins::default();
        allowed.allow("https://good.example".parse().unwrap());
        allowed.check(&headers, scheme).map_or_else(|refusal| refusal.status().as_u16(), |_page| 200)
    }

    fn status(host: &'static str, origins: &[&'static str]) -> u16 {
        status_under(Scheme::Http, host, origins)
    }

    #[test]
    fn what_no_browser_ever_names_is_no_origin() {
        for text in [
            "https://*.example",
            "https://*",
            "https://",
            "https://a!b",
            "https://a%2eb",
            "https://a.example:",
            "https://a.example:65536",
            "https://[::1",
            "https://[::x]",
            "https://[v1.a]",
            "https://ann@a.example",
            "https://a.example/",
            "wss://a.example",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
        for text in
            ["http://localhost:3000", "https://a_b-c.xn--bcher-kva.example", "http://[2001:db8::1]:8080"]
        {
            assert!(text.parse::<Origin>().is_ok(), "{text}");
        }
    }

    #[test]
    fn the_own_origin_has_the_scheme_of_the_request() {
        assert_eq!(status_under(Scheme::Https, "chat.test", &["https://chat.test"]), 200);
        assert_eq!(status_under(Scheme::Https, "chat.test:443", &["https://chat.test"]), 200);
        assert_eq!(status_under(Scheme::Https, "chat.test:8443", &["https://chat.test:8443"]), 200);
        assert_eq!(status_under(Scheme::Https, "chat.test", &["http://chat.test"]), 403);
    }

    #[test]
    fn the_whole_origin_is_compared() {
        for good in [
            "http://chat.test:8080",
            "http://CHAT.test:8080",
            "https://good.example",
            "https://good.example:443",
        ] {
            assert_eq!(status("chat.test:8080", &[good]), 200, "{good}");
        }
        assert_eq!(status("chat.test:8080", &[]), 200);
        assert_eq!(status("[::1]", &["http://[::1]:80"]), 200);
        for foreign in [
            "https://chat.test:8080",
            "http://chat.test",
            "http://chat.test:8081",
            "http://chat.test:8080.evil.test",
            "http://chat.test:8080@evil.test",
            "http://evil.test/chat.test:8080",
            "http://good.example",
            "https://good.example.evil.test",
            "null",
            "",
            "file://",
        ] {
            assert_eq!(status("chat.test:8080", &[foreign]), 403, "{foreign}");
        }
        assert_eq!(status("chat.test", &["http://chat.test", "http://chat.test"]), 400);
    }

    /// A name that somebody else gives out can be made to lead here (DNS rebinding).
    #[test]
    fn pages_under_a_name_that_is_not_known_are_foreign() {
        let mut origins = Origins::default();
        origins.allow("https://good.example".parse().unwrap());
        origins.be_known_names_only();
        let status = |host: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(host.map(|host| (HOST, HeaderValue::from_str(host).unwrap())));
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
            origins
                .check(&headers, Scheme::Http)
                .map_or_else(|refusal| refusal.status().as_u16(), |_page| 200)
        };
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "192.0.2.1", "localhost:8080", "LOCALHOST", "good.example:8080"]
        {
            assert_eq!(status(Some(host), None), 200, "{host}");
            assert_eq!(status(Some(host), Some("https://good.example")), 200, "{host}");
            assert_eq!(status(Some(host), Some("http://evil.test")), 403, "{host}");
        }
        assert_eq!(status(Some("localhost:8080"), Some("http://localhost:8080")), 200);
        assert_eq!(status(None, None), 200, "no browser leaves it out");
        for host in ["evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test", "0x7f.1", "", "a b"] {
            assert_eq!(status(Some(host), None), 200, "{host}: no page is named");
        }
        for host in ["evil.test:8080", "localhost.evil.test", "127.0.0.1.evil.test"] {
            assert_eq!(status(Some(host), Some(&format!("http://{host}"))), 403, "{host}");
        }
    }
}
