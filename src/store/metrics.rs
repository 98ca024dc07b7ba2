use std::time::Instant;

use metrics::{Gauge, Histogram};

/// Handles of the store's series, looked up once. Made after the recorder was installed.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) open: Histogram,
    pub(super) read: Histogram,
    pub(super) append: Histogram,
    pub(super) commit: Histogram,
    pub(super) delete: Histogram,
    pub(super) fsync: Histogram,
    /// Sessions that have a writer now.
    pub(super) uploads: Gauge,
}

impl Metrics {
    pub(super) fn new(driver: &'static str) -> Self {
        const NAME: &str = "registry_storage_action_seconds";
        metrics::describe_histogram!(NAME, metrics::Unit::Seconds, "How long the blob store took.");
        metrics::describe_gauge!("registry_uploads_in_progress", "Upload sessions that are being written to.");
        let action = |action: &'static str| metrics::histogram!(NAME, "driver" => driver, "action" => action);
        Self {
            open: action("open"),
            read: action("read"),
            append: action("append"),
            commit: action("commit"),
            delete: action("delete"),
            fsync: action("fsync"),
            uploads: metrics::gauge!("registry_uploads_in_progress"),
        }
    }
}

/// Runs something and records how long it took.
pub(super) fn timed<T>(histogram: &Histogram, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    histogram.record(start.elapsed());
    result
}

/// Counts one session that is being written to, until dropped.
#[derive(Debug)]
pub(super) struct InProgress(Gauge);

impl InProgress {
    pub(super) fn begin(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
