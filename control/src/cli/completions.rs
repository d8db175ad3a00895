//! `vpclab completions`: shell completion scripts.

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, Exit, Globals, print};

/// Arguments of `vpclab completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: source <(vpclab completions bash)")]
pub struct Args {
    /// The shell to complete for.
    pub shell: Shell,
}

/// Prints the script.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    print(&script(args.shell))?;
    Ok(Exit::Ok)
}

fn script(shell: Shell) -> String {
    // clap_complete would offer hidden commands too: leave them out.
    let full = Cli::command();
    let mut visible = Command::new("vpclab")
        .args(full.get_arguments().cloned())
        .subcommands(visible(&full).cloned());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut visible, "vpclab", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The commands that users type.
pub(super) fn visible(full: &Command) -> impl Iterator<Item = &Command> {
    let all = full.get_subcommands();
    all.filter(|command| !command.is_hide_set())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_commands_and_not_the_hidden_ones() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for command in ["demo", "up", "exec", "inspect", "trace", "capture", "flows"] {
                assert!(script.contains(command), "{shell}: {command}");
            }
            assert!(!script.contains("daemon "), "{shell}");
        }
    }
}
