//! The wish of whoever runs the program that it should end.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The program was told to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by {0}")]
pub(crate) struct Interrupted(&'static str);

/// Hears the signals that end a program: once this is there they do not end it by themselves, so that a server that it
/// has started can be ended first.
#[cfg(unix)]
pub(crate) struct Interrupt {
    control_c: Signal,
    terminate: Signal,
    hang_up: Signal,
}

#[cfg(unix)]
impl Interrupt {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            control_c: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub(crate) async fn wait(&mut self) -> Interrupted {
        Interrupted(tokio::select! {
            _ = self.control_c.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        })
    }
}

/// Hears Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Interrupt;

#[cfg(not(unix))]
impl Interrupt {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for it.
    pub(crate) async fn wait(&mut self) -> Interrupted {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Interrupted("Ctrl-C"),
            // Nobody can interrupt it.
            Err(_) => std::future::pending().await,
        }
    }
}
