//! How far a run is, on standard error where that is a terminal.

use std::time::Duration;

use chat_load::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for one part of a run after the other.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Default for Bar {
    fn default() -> Self {
        // Where there is no terminal it draws nothing.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix}{msg:>12} [{bar:40}] {percent:>3} % {elapsed}");
        bar.set_style(style.expect("the template is right").progress_chars("=> "));
        Self(bar)
    }
}

impl Progress for Bar {
    fn begin(&self, part: &'static str, steps: u64) {
        self.0.reset();
        self.0.set_length(steps);
        self.0.set_message(part);
        self.0.enable_steady_tick(Duration::from_millis(200));
    }

    fn at(&self, steps: u64) {
        self.0.set_position(steps);
    }

    fn step(&self, number: usize, users: usize) {
        self.0.set_prefix(format!("step {number}, {users} users: "));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
