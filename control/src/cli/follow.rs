//! Commands that go on until they are interrupted: ask, print, wait.

use std::io::{ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{CliError, Exit};

/// Asks every `interval`; `once` returns what is to be printed. Ends well when
/// nobody reads any more.
pub(super) fn follow(
    interval: Duration,
    mut once: impl FnMut() -> Result<String, CliError>,
) -> Result<Exit, CliError> {
    loop {
        let text = once()?;
        let mut stdout = anstream::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Ok),
            other => other?,
        }
        drop(stdout);
        std::thread::sleep(interval);
    }
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a line names the time of day; nothing is decided by it"
)]
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// The time of day, UTC: `17:20:01.123`.
pub(super) fn time_of_day(seconds: f64) -> String {
    let millis = (seconds * 1000.0) as u64 % 86_400_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}
