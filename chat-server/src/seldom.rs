//! What goes wrong over and over is said now and then.

use tokio::time::Instant;

use crate::limits::REPEAT_LOG_PERIOD;

/// Keeps a line out of the log while the last of its kind is young.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// How often nothing was said since the last time; `None` where nothing is to be said now either.
    pub(crate) fn speak(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.said_at.is_some_and(|at| now < at + REPEAT_LOG_PERIOD) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_not_said_is_counted() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.speak(), Some(0));
        assert_eq!([seldom.speak(), seldom.speak()], [None, None]);
        tokio::time::advance(REPEAT_LOG_PERIOD).await;
        assert_eq!([seldom.speak(), seldom.speak()], [Some(2), None]);
    }
}
