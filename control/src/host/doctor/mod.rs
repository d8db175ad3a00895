//! What this machine has of what a lab needs, by trying it.
//!
//! What changes the process that tries (namespaces) is tried in a child: the
//! `probe`. Each check says what was found and, unless it is well, what to do.

mod probe;
mod system;

use serde::{Deserialize, Serialize};

pub use probe::run as run_probe;

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Labs run; something does not.
    Warn,
    /// No lab runs.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How well it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn new(name: &str, verdict: Verdict, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            found: found.into(),
            fix: None,
        }
    }

    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, found)
    }

    fn warn(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warn, found).fix(fix)
    }

    fn fail(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Verdict::Fail, found).fix(fix)
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Looks at everything.
pub fn examine() -> Vec<Check> {
    let mut checks = vec![system::kernel()];
    checks.extend(probe::ask());
    checks.extend([
        system::other_users(),
        system::io_uring(),
        system::open_files(),
        system::namespaces_left(),
        system::tasks(),
        system::memory_lock(),
        system::inotify(),
        system::ipv6(),
        system::resolv_conf(),
        system::runtime_directory(),
        system::api_port(),
    ]);
    checks.extend(system::tools());
    checks
}
