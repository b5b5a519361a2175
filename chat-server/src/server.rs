//! The server as a value: what its parts share, and how it is mounted, run and ended.

use std::{
    future::Future,
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state, map_response},
    routing::any,
};
use chat_core::Engine;
use ipnet::IpNet;
use tokio::net::TcpListener;

use crate::{
    admission::Admission,
    api,
    auth::{Authentication, Authenticator, NobodyAuth},
    connection,
    error::ApiError,
    headers, health,
    lifecycle::Lifecycle,
    limits::{DRAIN_WAIT_DEFAULT, METRICS_UPKEEP_PERIOD},
    listen::{self, Door},
    metrics::Metrics,
    origin::{Origin, Origins},
    panics,
    peer::{self, Proxies},
    rates::{RateLimit, Rates},
    tls::Tls,
    watch::{self, UnderOverload},
    web,
};

/// A chat server: an [`Engine`] on the network. A clone is the same server.
///
/// It runs by itself:
///
/// ```
/// use chat_core::{Engine, store::MemoryStore};
/// use chat_server::{OpenAuth, Server};
/// use tokio::net::TcpListener;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let engine = Engine::builder(MemoryStore::new()).build().await?;
/// let server = Server::builder(engine).authenticator(OpenAuth).build();
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let shutdown = async {}; // for example tokio::signal::ctrl_c()
/// server.serve(listener, shutdown).await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Or as a part of another service, which then drains it before it ends:
///
/// ```
/// use std::time::Duration;
///
/// use axum::Router;
/// use chat_core::{Engine, store::MemoryStore};
/// use chat_server::{OpenAuth, Server};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let engine = Engine::builder(MemoryStore::new()).build().await?;
/// let chat = Server::builder(engine).authenticator(OpenAuth).build();
/// let app: Router = Router::new().nest("/chat", chat.router()); // /chat/ws, /chat/api/v1/…
/// // axum::serve(listener, app).with_graceful_shutdown(…), and then:
/// chat.drain(Duration::from_secs(10)).await;
/// # drop(app);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    authentication: Authentication,
    origins: Origins,
    proxies: Proxies,
    admission: Admission,
    tls: Option<Tls>,
    metrics: Option<Metrics>,
    rates: Option<Rates>,
    under_overload: UnderOverload,
    watched: AtomicBool,
    drain_limit: Duration,
    lifecycle: Lifecycle,
}

/// A [`Server`] to be: see [`Server::builder`].
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder(Shared);

impl ServerBuilder {
    /// Who tells who is asking. Without one, everybody is refused with 401.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.0.authentication = Authentication::new(authenticator);
        self
    }

    /// Lets the pages of one more origin open the socket and call the API. Those of the server's own origin always
    /// may: its scheme is that of the connection, or what a trusted proxy says, and its host the request's `Host`.
    ///
    /// A server behind a proxy that speaks TLS must trust it, or be told its public origin here.
    pub fn allow_origin(mut self, origin: Origin) -> Self {
        self.0.origins.allow(origin);
        self
    }

    /// Takes pages for the server's own only at addresses, at `localhost` and at the hosts of
    /// [allowed origins](Self::allow_origin), whatever else `Host` says.
    ///
    /// It is for servers that believe everybody ([`OpenAuth`](crate::OpenAuth)) and rely on nobody else reaching them. A
    /// browser on the same machine does, and any page that is open in it can give the server a name of its own (DNS
    /// rebinding), under which it then passes for the server's page.
    pub fn known_names_only(mut self) -> Self {
        self.0.origins.be_known_names_only();
        self
    }

    /// Believes the proxies in these networks: whom they name in `X-Forwarded-For` is the client
    /// ([`ClientAddress`](crate::ClientAddress)), and `X-Forwarded-Proto` is the scheme of the server's own origin.
    /// Such a proxy must set or extend both headers, whatever its client sent. Without any, nobody is believed.
    pub fn trust_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.0.proxies = Proxies::new(networks.into_iter().collect());
        self
    }

    /// How many connections there may be at a time, sockets among them; no limit unless set. Whoever comes when
    /// there are so many is answered 503 and closed; under TLS closed without an answer, which would take a handshake.
    ///
    /// It holds for [`Server::serve`], and should leave descriptors for what else the process opens.
    pub const fn connections_max(mut self, max: NonZeroUsize) -> Self {
        self.0.admission.connections_max = max.get();
        self
    }

    /// How many connections one address may have at a time; no limit unless set. One too many is answered 429 and
    /// closed; under TLS closed without an answer. Of IPv6 a network of 64 bits counts as one address.
    ///
    /// The connections of a trusted proxy do not count for the proxy: behind it each client's sockets count for the
    /// client, and one too many is answered 429.
    pub const fn connections_per_address(mut self, max: NonZeroUsize) -> Self {
        self.0.admission.per_address_max = Some(max.get());
        self
    }

    /// Speaks TLS, and nothing else, on the address that is served. The server's own origin is then `https://`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.0.tls = Some(tls);
        self
    }

    /// What `/metrics` shows. Without it there is no such page.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.0.metrics = Some(metrics);
        self
    }

    /// How much one user may ask for, over all connections and requests together; without it, anything. Past it a
    /// command gets `rate_limited` and a request 429; who goes on all the same is closed with 4029.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.0.rates = Some(Rates::new(limit));
        self
    }

    /// Has the server serve everybody as ever while it has more to do than it can. Without this, a server that is
    /// [watched](Server::watch) leaves off in the order of [`Strain`](chat_core::Strain), and goes back by itself.
    pub const fn endure_overload(mut self) -> Self {
        self.0.under_overload = UnderOverload::Endure;
        self
    }

    /// How long [`Server::serve`] waits at its end for connections and requests; 10 s unless set.
    pub const fn drain_limit(mut self, limit: Duration) -> Self {
        self.0.drain_limit = limit;
        self
    }

    /// The server. Nothing runs yet.
    pub fn build(self) -> Server {
        Server(Arc::new(self.0))
    }
}

impl Server {
    /// Begins a server of `engine`. Ending the engine remains with the caller.
    pub fn builder(engine: Engine) -> ServerBuilder {
        ServerBuilder(Shared {
            engine,
            authentication: Authentication::new(NobodyAuth),
            origins: Origins::default(),
            proxies: Proxies::default(),
            admission: Admission::unlimited(),
            tls: None,
            metrics: None,
            rates: None,
            under_overload: UnderOverload::default(),
            watched: AtomicBool::new(false),
            drain_limit: DRAIN_WAIT_DEFAULT,
            lifecycle: Lifecycle::default(),
        })
    }

    /// The socket at `/ws` and the API under `/api/v1`, to be nested in a service's own router.
    ///
    /// The service must speak HTTP/1.1 to it, and tell it the peer, as `axum` does with
    /// [`into_make_service_with_connect_info`](Router::into_make_service_with_connect_info) of a `SocketAddr`. Without it
    /// there is no [`ClientAddress`](crate::ClientAddress), proxies are not believed whatever was
    /// [trusted](ServerBuilder::trust_proxies), and sockets do not count for an address. Its own origin is `http://` with
    /// the request's `Host`, unless a proxy that is believed names the scheme: a service that speaks TLS itself
    /// [allows](ServerBuilder::allow_origin) its public origin.
    ///
    /// Sockets outlive the requests that opened them, and the service's own
    /// shutdown does not see them: [`drain`](Self::drain) does.
    pub fn router(&self) -> Router {
        self.finish(self.routes())
    }

    /// What [`serve`](Self::serve) serves: the [`router`](Self::router), the web page at `/`, `/healthz`, `/readyz`
    /// and `/metrics`.
    ///
    /// `/metrics` answers admins and peers on this machine, so it needs to be told the peer: with
    /// [`into_make_service_with_connect_info`](Router::into_make_service_with_connect_info).
    pub fn app(&self) -> Router {
        let routes = self.routes().merge(health::routes()).merge(web::routes());
        self.finish(routes.fallback(async || ApiError::not_found()))
    }

    /// Puts around all routes what holds for each request and each answer, the outermost last.
    fn finish(&self, routes: Router<Self>) -> Router {
        routes
            .layer(from_fn_with_state(self.clone(), peer::identify))
            .layer(from_fn(panics::catch))
            .layer(map_response(headers::secure))
            .with_state(self.clone())
    }

    fn routes(&self) -> Router<Self> {
        Router::new().route("/ws", any(connection::upgrade::open)).nest("/api/v1", api::routes(self))
    }

    /// Serves until `shutdown` is ready, then drains: no new connection is taken, every command that has arrived is
    /// answered, requests end, sockets are closed with 1001.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; connections that are open go on.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        if let Some(metrics) = self.0.metrics.clone() {
            self.lifecycle().spawn(keep_up(metrics, self.lifecycle().clone()));
        }
        let watched = self.clone();
        self.lifecycle().spawn(async move { watched.watch().await });
        if let Some(tls) = self.0.tls.clone() {
            self.lifecycle().spawn(tls.keep_fresh(self.lifecycle().clone()));
        }
        let door = Door {
            app: self.app(),
            admission: self.0.admission.clone(),
            proxies: self.0.proxies.clone(),
            lifecycle: self.lifecycle().clone(),
            tls: self.0.tls.clone(),
        };
        listen::accept(listener, door, shutdown).await;
        self.drain(self.0.drain_limit).await;
    }

    /// Serves `/metrics`, to whoever reaches this address, and `/healthz`, until `shutdown` is ready. It speaks no TLS.
    ///
    /// It goes on while the server drains, when figures are worth most. Its own end waits for requests under way.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; connections that are open go on.
    pub async fn serve_metrics(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let routes = health::open_routes().fallback(async || ApiError::not_found());
        let door = Door {
            app: self.finish(routes),
            admission: Admission::of_metrics(),
            proxies: Proxies::default(),
            lifecycle: Lifecycle::default(),
            tls: None,
        };
        let own = door.lifecycle.clone();
        listen::accept(listener, door, shutdown).await;
        own.drain(self.0.drain_limit).await;
    }

    /// Looks at the server until it drains: what it can bear, for the figures, and whether what it does is too much, for what it
    /// then [leaves off](ServerBuilder::endure_overload). [`serve`](Self::serve) sees to it; a service that mounts the
    /// [`router`](Self::router) gives it a task. One at a time is enough: a second one ends at once.
    ///
    /// # Cancel safety
    /// Dropping it leaves the figures as they were last, and the server leaves nothing off any more.
    pub async fn watch(&self) {
        watch::keep(self).await;
    }

    /// Closes all sockets, within `limit`: every command that has arrived is answered first, and each is closed with
    /// 1001. From now on no socket is opened, and `/readyz` says 503. A second drain waits for the first.
    ///
    /// # Cancel safety
    /// Dropping it does not stop the drain.
    pub async fn drain(&self, limit: Duration) {
        self.lifecycle().drain(limit).await;
    }

    /// The engine behind the server.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether [`serve`](Self::serve) speaks TLS: its addresses are then `https://` and `wss://`.
    pub fn speaks_tls(&self) -> bool {
        self.0.tls.is_some()
    }

    pub(crate) fn authentication(&self) -> &Authentication {
        &self.0.authentication
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.0.proxies
    }

    pub(crate) fn metrics(&self) -> Option<&Metrics> {
        self.0.metrics.as_ref()
    }

    pub(crate) fn rates(&self) -> Option<&Rates> {
        self.0.rates.as_ref()
    }

    pub(crate) fn under_overload(&self) -> UnderOverload {
        self.0.under_overload
    }

    /// Whether somebody looks at the server.
    pub(crate) fn watched(&self) -> &AtomicBool {
        &self.0.watched
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }
}

async fn keep_up(metrics: Metrics, lifecycle: Lifecycle) {
    let mut drain = std::pin::pin!(lifecycle.drain_begins());
    while tokio::time::timeout(METRICS_UPKEEP_PERIOD, &mut drain).await.is_err() {
        metrics.upkeep();
    }
}
