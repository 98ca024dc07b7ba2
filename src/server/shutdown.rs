use tokio::signal::unix::{SignalKind, signal};

/// Done when the process is asked to end: SIGTERM, or SIGINT from a terminal.
///
/// # Errors
/// Where signals cannot be listened for.
pub fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
