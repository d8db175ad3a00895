//! `vpclab completions`: shell completion scripts.

use clap::CommandFactory;
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
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vpclab", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_completion_knows_the_commands_and_not_the_hidden_ones() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Fish, &mut Cli::command(), "vpclab", &mut script);
        let script = String::from_utf8(script).expect("UTF-8");
        for command in [
            "demo", "up", "down", "exec", "ps", "inspect", "trace", "capture", "flows",
        ] {
            assert!(script.contains(&format!("-a \"{command}\"")), "{command}");
        }
        assert!(!script.contains("-a \"daemon\""));
    }
}
