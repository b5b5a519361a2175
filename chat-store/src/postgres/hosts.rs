//! Which of its hosts a database is reached at.
//!
//! The driver would wait for a host that takes a connection and then says nothing until whoever waits for the driver
//! gives up, and so never come to the next.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use chat_core::store::BoxFuture;
use deadpool_postgres::Connect;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Error,
    config::{Host, LoadBalanceHosts},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{address::PostgresAddress, limits::CONNECT_MAX};

/// The hosts of a database, with the way to each.
#[derive(Clone)]
pub(super) struct Hosts {
    ways: Vec<Config>,
    is_any_first: bool,
    time_each: Duration,
    tls: MakeRustlsConnect,
}

impl Hosts {
    pub(super) fn of(address: &PostgresAddress, tls: MakeRustlsConnect) -> Self {
        let all = address.config();
        let count = all.get_hosts().len();
        // One that is not there must leave time for the next.
        let share = CONNECT_MAX / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let time_each = all.get_connect_timeout().map_or(share, |time| share.min(*time));
        let way = |index| {
            let mut way = only(&all, index);
            way.connect_timeout(time_each);
            way
        };
        Self {
            ways: (0..count).map(way).collect(),
            is_any_first: all.get_load_balance_hosts() == LoadBalanceHosts::Random,
            time_each,
            tls,
        }
    }

    /// How long a connection may take, wherever it leads.
    pub(super) fn time_max(&self) -> Duration {
        self.time_each.saturating_mul(u32::try_from(self.ways.len()).unwrap_or(u32::MAX)).min(CONNECT_MAX)
    }

    /// A connection to the first host that will have us, and the task that drives it. Each has its time, and the last one
    /// what is left of [`time_max`](Self::time_max), which is for the caller to hold.
    pub(super) async fn reach(&self) -> Result<(Client, JoinHandle<()>), Error> {
        let mut ways = self.in_order();
        let last = ways.pop().expect("an address has a host");
        let mut answer = None;
        for way in ways {
            match timeout(self.time_each, reach(way, self.tls.clone())).await {
                Ok(Ok(reached)) => return Ok(reached),
                Ok(Err(error)) => {
                    tracing::debug!(host = ?way.get_hosts(), error = &error as &dyn std::error::Error, "not this host");
                    // What a server has to say tells more than that another was not there, or not meant.
                    answer = answer.or_else(|| error.as_db_error().is_some().then_some(error));
                }
                Err(_) => tracing::debug!(host = ?way.get_hosts(), "this host does not answer"),
            }
        }
        reach(last, self.tls.clone()).await.map_err(|error| answer.unwrap_or(error))
    }

    fn in_order(&self) -> Vec<&Config> {
        let mut ways: Vec<_> = self.ways.iter().enumerate().collect();
        if self.is_any_first {
            let chance = RandomState::new();
            ways.sort_by_key(|(index, _)| chance.hash_one(index));
        }
        ways.into_iter().map(|(_, way)| way).collect()
    }
}

/// For the pools, which know one address only.
impl Connect for Hosts {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(self.reach())
    }
}

async fn reach(way: &Config, tls: MakeRustlsConnect) -> Result<(Client, JoinHandle<()>), Error> {
    let (client, connection) = way.connect(tls).await?;
    let task = tokio::spawn(async {
        if let Err(error) = connection.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a connection to postgres broke");
        }
    });
    Ok((client, task))
}

/// What an address says, for one of its hosts.
fn only(all: &Config, index: usize) -> Config {
    let mut one = Config::new();
    match &all.get_hosts()[index] {
        Host::Tcp(name) => one.host(name),
        #[cfg(unix)]
        Host::Unix(directory) => one.host_path(directory),
    };
    if let Some(address) = all.get_hostaddrs().get(index) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(index).or_else(|| all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(time) = all.get_connect_timeout() {
        one.connect_timeout(*time);
    }
    if let Some(time) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*time);
    }
    if let Some(time) = all.get_keepalives_interval() {
        one.keepalives_interval(time);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .target_session_attrs(all.get_target_session_attrs())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hosts(url: &str) -> Hosts {
        let address: PostgresAddress = url.parse().unwrap();
        let tls = address.connector().unwrap();
        Hosts::of(&address, tls)
    }

    #[test]
    fn several_hosts_share_the_time_of_a_connection() {
        let times = |url| (hosts(url).time_each, hosts(url).time_max());
        let second = Duration::from_secs(1);
        assert_eq!(times("postgres://one/chat"), (CONNECT_MAX, CONNECT_MAX));
        assert_eq!(times("postgres://one/chat?connect_timeout=1"), (second, second));
        assert_eq!(times("postgres://one/chat?connect_timeout=7"), (CONNECT_MAX, CONNECT_MAX));
        assert_eq!(times("postgres://one,two/chat"), (CONNECT_MAX / 2, CONNECT_MAX));
        assert_eq!(times("postgres://a,b,c,d/chat?connect_timeout=1"), (CONNECT_MAX / 4, CONNECT_MAX));
    }

    #[test]
    fn each_host_has_all_that_the_address_says() {
        let parameters = "connect_timeout=1&tcp_user_timeout=2&keepalives=0&keepalives_idle=3&keepalives_interval=4\
             &keepalives_retries=5&options=-c%20jit%3Doff&application_name=name&channel_binding=require\
             &target_session_attrs=read-write&load_balance_hosts=random&sslmode=require&sslnegotiation=direct";
        let of = |place: &str, addresses: &str| {
            let url = format!("postgres://ann:secret@{place}/chat?hostaddr={addresses}&{parameters}");
            url.parse::<PostgresAddress>().unwrap().config()
        };
        let all = of("one:1,two:2", "127.0.0.1,127.0.0.2");
        assert_eq!(only(&all, 0), of("one:1", "127.0.0.1"));
        assert_eq!(only(&all, 1), of("two:2", "127.0.0.2"));
        let config = |url: &str| url.parse::<PostgresAddress>().unwrap().config();
        let all = config("postgres:///chat?host=/run/one,two&port=7&target_session_attrs=any");
        assert_eq!(only(&all, 1).get_hosts(), [Host::Tcp("two".to_owned())]);
        assert_eq!(only(&all, 1).get_ports(), [7]);
        assert_eq!(
            only(&all, 0),
            config("postgres:///chat?host=/run/one&port=7&sslmode=prefer")
                .ssl_mode(all.get_ssl_mode())
                .clone()
        );
    }

    #[test]
    fn the_hosts_are_tried_in_order_unless_they_are_to_share() {
        let firsts = |url: &str| {
            let hosts = hosts(url);
            let first = |_| match &hosts.in_order()[0].get_hosts()[0] {
                Host::Tcp(name) => name.clone(),
                Host::Unix(directory) => directory.display().to_string(),
            };
            (0..200).map(first).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(firsts("postgres://one,two,three/chat"), 1);
        assert_eq!(firsts("postgres://one,two,three/chat?load_balance_hosts=random"), 3);
    }
}
