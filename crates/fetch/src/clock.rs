//! How much time has passed: the one place in this crate that reads the monotonic clock.

use std::{fmt, sync::Arc, time::Duration, time::Instant};

/// Time since some moment in the past. It never steps back, so no setting of the wall clock keeps a copy alive.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(crate) fn new(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(elapsed))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the room that measures intervals"
    )]
    pub(crate) fn system() -> Self {
        let start = Instant::now();
        Self::new(move || start.elapsed())
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
