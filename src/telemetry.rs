//! What the outside sees of the inside: the log and the metrics.
//!
//! Both are set up once, at the start of the process, and reached from
//! everywhere through the macros of `tracing` and `metrics`; nobody passes a
//! logger around. What it gives up: a test that wants to see a metric needs a
//! recorder of its own.

use std::convert::Infallible;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which events are logged.
///
/// Grammar: the directives of `RUST_LOG`, such as `info,hyper=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Box<str>);

impl FromStr for Filter {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        EnvFilter::try_new(text).map(|_| Self(text.into()))
    }
}

impl Filter {
    /// Nothing but warnings and errors.
    pub fn warnings() -> Self {
        Self("warn".into())
    }

    /// The directives.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sends the log of a server to standard output.
///
/// # Errors
/// Where the process has a subscriber already.
pub fn log_to_stdout(filter: &Filter, format: LogFormat) -> Result<(), TryInitError> {
    start_log(filter, format, io::stdout)
}

/// Sends the log of a subcommand to standard error, so that its output stays
/// what was asked for.
///
/// # Errors
/// Where the process has a subscriber already.
pub fn log_to_stderr(filter: &Filter, format: LogFormat) -> Result<(), TryInitError> {
    start_log(filter, format, io::stderr)
}

fn start_log<W>(filter: &Filter, format: LogFormat, writer: W) -> Result<(), TryInitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter.as_str())).with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).finish().try_init(),
    }
}

/// Requests and queries: from what a cache answers to a layer over a slow line.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// Deeds of the store and the database, which begin at microseconds.
const SHORT_SECONDS: [f64; 14] =
    [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Bodies: from an error to a layer of a machine-learning model.
const BYTES: [f64; 9] = [256.0, 1024.0, 16_384.0, 262_144.0, 1_048_576.0, 16_777_216.0, 268_435_456.0, 1e9, 1e10];

/// The one recorder of this process, once it counts.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Makes this process count, for the whole of its life.
///
/// # Errors
/// Where it counts already.
pub fn start_metrics() -> Result<(), BuildError> {
    let matching = |text: &str| Matcher::Suffix(text.to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(matching("_bytes"), &BYTES)?
        .set_buckets_for_metric(matching("_seconds"), &SHORT_SECONDS)?
        .set_buckets_for_metric(Matcher::Full("registry_http_request_duration_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    RECORDER.get_or_init(|| recorder);
    describe();
    let commit = option_env!("DISTRIBUTION_COMMIT").unwrap_or("unknown");
    gauge!("registry_build_info", "version" => env!("CARGO_PKG_VERSION"), "commit" => commit).set(1.0);
    Ok(())
}

/// All metrics, in the text format that Prometheus scrapes; nothing where the
/// process does not count.
pub fn render_metrics() -> String {
    RECORDER.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Sorts what was observed into its buckets, for ever. Without it every
/// observation is kept until somebody scrapes.
pub async fn keep_up_metrics() -> Infallible {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        if let Some(recorder) = RECORDER.get() {
            recorder.run_upkeep();
        }
    }
}

/// What each of them means (design: metrics).
fn describe() {
    describe_gauge!("registry_build_info", "Always 1; the version and commit that run.");
    describe_counter!("registry_http_requests_total", "Requests answered.");
    describe_histogram!("registry_http_request_duration_seconds", "Time from a request's head to its last byte sent.");
    describe_gauge!("registry_http_in_flight_requests", "Requests being served.");
    describe_histogram!("registry_http_request_size_bytes", "Bytes of request bodies.");
    describe_histogram!("registry_http_response_size_bytes", "Bytes of response bodies.");
    describe_histogram!("registry_storage_action_seconds", "Time of the blob store's actions.");
    describe_counter!("registry_upload_bytes_total", "Bytes of blobs received.");
    describe_counter!("registry_download_bytes_total", "Bytes of blobs sent.");
    describe_gauge!("registry_uploads_in_progress", "Requests that are writing to an upload session.");
    describe_counter!("registry_auth_attempts_total", "Credentials checked.");
    describe_counter!("registry_authz_denials_total", "Requests refused for want of a right.");
    describe_counter!("registry_tokens_issued_total", "Tokens issued.");
    describe_counter!("registry_rate_limited_total", "Requests refused because there were too many.");
    describe_histogram!("registry_db_query_duration_seconds", "Time of database operations.");
    describe_gauge!("registry_db_pool_connections", "Connections to the database.");
}

#[cfg(test)]
mod tests {
    use metrics::{counter, histogram};

    use super::*;

    #[test]
    fn what_is_counted_is_rendered_in_buckets() {
        start_metrics().unwrap();
        counter!("registry_upload_bytes_total").increment(7);
        histogram!("registry_http_request_duration_seconds", "handler" => "blob").record(0.02);
        histogram!("registry_storage_action_seconds", "action" => "open").record(0.0002);
        histogram!("registry_http_response_size_bytes", "handler" => "blob").record(2e6);

        let page = render_metrics();

        for line in [
            concat!("registry_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",commit=\""),
            "# TYPE registry_upload_bytes_total counter",
            "registry_upload_bytes_total 7",
            "registry_http_request_duration_seconds_bucket{handler=\"blob\",le=\"0.025\"} 1",
            "registry_http_request_duration_seconds_bucket{handler=\"blob\",le=\"300\"} 1",
            "registry_storage_action_seconds_bucket{action=\"open\",le=\"0.00025\"} 1",
            "registry_http_response_size_bytes_bucket{handler=\"blob\",le=\"1048576\"} 0",
        ] {
            assert!(page.contains(line), "no {line} in {page}");
        }
    }

    #[test]
    fn a_filter_is_checked() {
        assert_eq!("warn,distribution=trace".parse::<Filter>().unwrap().as_str(), "warn,distribution=trace");
        assert!("distribution=loud".parse::<Filter>().is_err());
    }
}
