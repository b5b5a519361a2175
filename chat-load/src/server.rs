//! A server for a run: one that runs, or a fresh one.

use std::{error::Error, ffi::OsString, io, path::PathBuf, pin::pin};

use crate::{
    client::http::Target,
    host::{MachineError, StartError, Started},
    measurement::Measurement,
    run::{Progress, RunError, raise_descriptors, run},
    scenario::Settings,
};

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Server {
    /// A fresh `chat-server` for each run.
    Ours {
        /// The program.
        program: PathBuf,
        /// Its flags.
        flags: Vec<OsString>,
    },
    /// A fresh server of somebody else's for each run, see [`Started::start_other`].
    Others {
        /// The program.
        program: PathBuf,
        /// All its arguments.
        arguments: Vec<OsString>,
    },
    /// One that runs, and goes on.
    Running {
        /// Where it listens.
        target: Target,
        /// Its process, where that is on this machine.
        pid: Option<u32>,
    },
}

/// Nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The run could not be made.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The machine cannot be looked at.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A server that was started does not end.
    #[error("the server cannot be ended: {0}")]
    Stop(#[source] io::Error),
    /// It was told to end.
    #[error(transparent)]
    Told(Box<dyn Error + Send + Sync>),
}

impl Server {
    /// Makes a run, at a fresh server where this is none that runs, until it is over or `until` says why it should end.
    ///
    /// # Errors
    /// [`MeasureError`].
    ///
    /// # Cancel safety
    /// Dropping it kills a server that it has started; let `until` end it, and the server is gone before its folder is.
    pub async fn measure<E: Error + Send + Sync + 'static>(
        &self,
        settings: &Settings,
        progress: &impl Progress,
        until: impl Future<Output = E>,
    ) -> Result<Measurement, MeasureError> {
        let mut until = pin!(until);
        // Before a server starts, as it inherits the limit.
        raise_descriptors().map_err(RunError::from)?;
        let started = tokio::select! {
            started = self.started() => started?,
            told = until.as_mut() => return Err(MeasureError::Told(told.into())),
        };
        let (target, pid) = match (&started, self) {
            (Some(server), _) => (server.target(), Some(server.pid())),
            (None, Self::Running { target, pid }) => (target, *pid),
            (None, Self::Ours { .. } | Self::Others { .. }) => unreachable!("it was started"),
        };
        let measured = tokio::select! {
            measured = run(settings, target, pid, progress) => measured.map_err(MeasureError::from),
            told = until => Err(MeasureError::Told(told.into())),
        };
        if let Some(server) = started {
            // However the run ended: the server must be gone before its folder is.
            server.stop().await.map_err(MeasureError::Stop)?;
        }
        measured
    }

    /// Starts it once, where it is one to be started, and ends it: before the time for what comes first is spent.
    ///
    /// # Errors
    /// [`MeasureError`].
    ///
    /// # Cancel safety
    /// Dropping it kills what was started.
    pub async fn try_start<E: Error + Send + Sync + 'static>(
        &self,
        until: impl Future<Output = E>,
    ) -> Result<(), MeasureError> {
        let started = tokio::select! {
            started = self.started() => started?,
            told = until => return Err(MeasureError::Told(told.into())),
        };
        match started {
            Some(server) => server.stop().await.map_err(MeasureError::Stop),
            None => Ok(()),
        }
    }

    /// A fresh one; `None` where it runs already.
    async fn started(&self) -> Result<Option<Started>, StartError> {
        match self {
            Self::Ours { program, flags } => Started::start(program, flags).await.map(Some),
            Self::Others { program, arguments } => Started::start_other(program, arguments).await.map(Some),
            Self::Running { .. } => Ok(None),
        }
    }
}
