//! The server whose breaking point is searched for.

use crate::{
    host::Growth,
    scenario::{Scenario, Settings},
    server::Server,
};

/// A server, and what is asked of it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it is called in tables and reports.
    pub name: String,
    /// What its users do; how many they are is each step's own.
    pub settings: Settings,
    /// Where it is.
    pub server: Server,
    /// What the network carries in a second, where there is one between server and users.
    pub link_bits_per_s: Option<f64>,
}

impl Subject {
    /// In which way its load grows.
    pub const fn growth(&self) -> Growth {
        match self.settings.scenario {
            Scenario::Room | Scenario::Fanout | Scenario::Idle => Growth::Members,
            // Nearly all of what is said in the mixture is said in rooms that keep their size.
            Scenario::Pairs | Scenario::Churn | Scenario::Mixed => Growth::Rooms,
        }
    }
}
