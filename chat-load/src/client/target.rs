//! The address of a server.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
};

/// A server: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the `Host` header says.
    pub host: String,
}

/// It names no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// Without TLS, without a path.
    #[error("it must be http://HOST:PORT, without TLS and without a path")]
    Form,
    /// The host is not known.
    #[error("{0} is not known ({1})")]
    Unknown(String, #[source] io::Error),
    /// The host has no address.
    #[error("{0} has no address")]
    NoAddress(String),
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let host = text.strip_prefix("http://").ok_or(InvalidTarget::Form)?;
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.is_empty() || host.contains(['/', '?', '#', '@']) {
            return Err(InvalidTarget::Form);
        }
        let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut found =
            with_port.to_socket_addrs().map_err(|error| InvalidTarget::Unknown(host.to_owned(), error))?;
        let address = found.next().ok_or_else(|| InvalidTarget::NoAddress(host.to_owned()))?;
        Ok(Self { address, host: host.to_owned() })
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self { address, host: address.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_its_address() {
        let target: Target = "http://127.0.0.1:8080/".parse().unwrap();
        assert_eq!((target.address, target.host.as_str()), (([127, 0, 0, 1], 8080).into(), "127.0.0.1:8080"));
        assert_eq!("http://127.0.0.1".parse::<Target>().unwrap().address.port(), 80);
        assert_eq!("http://[::1]:9".parse::<Target>().unwrap().address.port(), 9);
        for bad in ["127.0.0.1:8080", "https://127.0.0.1", "http://", "http://h/ws", "http://u@h"] {
            assert!(matches!(bad.parse::<Target>(), Err(InvalidTarget::Form)), "{bad}");
        }
    }
}
