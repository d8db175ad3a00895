//! `vpclab start`: becomes a host's command, with every signal let through.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{CliError, Exit, Globals};
use crate::host::{limits, signals};

/// Arguments of `vpclab start`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Returns only if the program cannot be run.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    signals::unblock_all()?;
    limits::usual_open_files();
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(CliError::usage("no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(path) = std::env::current_exe()
        .ok()
        .and_then(|own| search_path(own.parent()?, std::env::var_os("PATH")))
    {
        command.env("PATH", path);
    }
    let error = command.exec();
    Err(CliError::fault(format!("{program}: {error}")))
}

/// `path` with this program's directory last: a topology's `run: vpclab
/// appliance` works without an installed vpclab, and an installed one wins.
fn search_path(own: &Path, path: Option<OsString>) -> Option<OsString> {
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let directories = std::env::split_paths(&path).chain([own.to_owned()]);
    std::env::join_paths(directories).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_directory_is_searched_last() {
        let path = search_path(Path::new("/lab/bin"), Some("/usr/bin:/bin".into()));
        assert_eq!(path, Some("/usr/bin:/bin:/lab/bin".into()));
    }
}
