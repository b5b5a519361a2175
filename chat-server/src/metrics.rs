//! The figures of a running server, in Prometheus' text format.

use std::{fmt, sync::Arc};

use chat_core::{
    ids::{ConnId, UserId},
    protocol::CloseCode,
};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::capacity;

/// Bounds of the histograms of time, in seconds: from a fast commit to a store that hangs.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Bounds of the histogram of batch sizes, up to the largest batch.
const BATCH_SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// The recorder that keeps the figures, and what `/metrics` shows of it. A clone is the same.
///
/// The engine records through the [`metrics`] crate, whose recorder belongs to the process: a service that has one
/// already needs no `Metrics`, and shows the figures in its own way.
#[derive(Clone)]
pub struct Metrics {
    recorder: PrometheusHandle,
    process: Arc<metrics_process::Collector>,
}

/// There can be no recorder.
#[derive(Debug, thiserror::Error)]
#[error("the process has another recorder of metrics already")]
pub struct MetricsError(#[source] BuildError);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Installs a recorder for the whole process.
    ///
    /// ```
    /// let metrics = chat_server::Metrics::install()?;
    /// metrics::counter!("chat_messages_committed_total").increment(2);
    /// assert!(metrics.render().contains("chat_messages_committed_total 2"));
    /// # Ok::<(), chat_server::MetricsError>(())
    /// ```
    ///
    /// # Errors
    /// [`MetricsError`] where the process has one.
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
            .and_then(|b| {
                b.set_buckets_for_metric(Matcher::Full("chat_commit_batch_size".into()), &BATCH_SIZES)
            })
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(MetricsError)?;
        let process = metrics_process::Collector::default();
        process.describe();
        describe();
        capacity::describe_traffic();
        Ok(Self { recorder, process: Arc::new(process) })
    }

    /// All figures as they now are, as text.
    pub fn render(&self) -> String {
        self.process.collect();
        capacity::tell_traffic();
        self.recorder.render()
    }

    /// Sorts the samples of histograms in, which pile up until then. A server does so from time to time by itself.
    pub fn upkeep(&self) {
        self.recorder.run_upkeep();
    }
}

/// Says what the server's own figures mean; the engine says it of its own.
fn describe() {
    describe_gauge!("chat_connections", "WebSocket connections that are open.");
    describe_counter!("chat_connections_opened_total", "WebSocket connections that were opened.");
    describe_counter!(
        "chat_connections_refused_total",
        "Connections, and sockets, that were one too many, by why."
    );
    describe_counter!("chat_connections_closed_total", "WebSocket connections that ended, by why.");
}

/// One connection in the figures and in the log, from its opening until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    /// Whose it is, once that is known.
    who: Option<(ConnId, UserId)>,
    /// Why it ends; `None` where the peer went without a word.
    why: Option<CloseCode>,
}

impl OpenConnection {
    pub(crate) fn begin() -> Self {
        capacity::opened();
        counter!("chat_connections_opened_total").increment(1);
        gauge!("chat_connections").increment(1);
        Self { who: None, why: None }
    }

    /// Whose it is has become known, or may have.
    pub(crate) fn learn(&mut self, who: Option<(ConnId, &UserId)>) {
        if self.who.is_none()
            && let Some((conn, user)) = who
        {
            tracing::debug!(%conn, %user, "connection opened");
            self.who = Some((conn, user.clone()));
        }
    }

    pub(crate) const fn ends_with(&mut self, why: CloseCode) {
        self.why = Some(why);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let reason = self.why.map_or("gone", CloseCode::reason);
        capacity::closed();
        gauge!("chat_connections").decrement(1);
        counter!("chat_connections_closed_total", "reason" => reason).increment(1);
        let (conn, user) = match &self.who {
            Some((conn, user)) => (Some(tracing::field::display(conn)), Some(tracing::field::display(user))),
            None => (None, None),
        };
        match self.why {
            None | Some(CloseCode::Normal | CloseCode::Drain) => {
                tracing::debug!(conn, user, reason, "connection closed");
            }
            Some(CloseCode::Internal) => tracing::error!(conn, user, reason, "connection closed"),
            Some(_) => tracing::info!(conn, user, reason, "connection closed"),
        }
    }
}
