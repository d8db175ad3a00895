//! The command line: one file per subcommand, each with its arguments and a
//! `run`. Doc comments on arguments are the help text.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::model::{IpRanges, PUBLISHED};

pub mod appliance;
pub mod attach;
pub mod aws_actions;
pub mod bench;
pub mod capture;
mod capture_text;
pub mod completions;
pub mod daemon;
pub mod delete_tap;
pub mod demo;
pub mod destination;
pub mod detach;
pub mod doctor;
pub mod down;
pub mod drops;
pub mod exec;
pub mod exit;
pub mod export;
pub mod fault;
pub mod flows;
mod follow;
pub mod graph;
pub mod human;
pub mod import;
pub mod init;
pub mod inspect;
pub mod launch;
pub mod logs;
pub mod man;
pub mod pid1;
pub mod ps;
pub mod replay;
pub mod restart;
pub mod schema;
pub mod serve;
pub mod start;
pub mod style;
pub mod table;
pub mod test;
pub mod top;
pub mod trace;
pub mod up;

pub use destination::Destination;
pub use exit::{CliError, Exit};

/// A userspace, packet-level emulator of AWS VPC networking.
#[derive(Debug, Parser)]
#[command(
    name = "vpclab",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok; 1 the answer is no (unreachable, unhealthy); \
                  2 bad usage or input; 3 a fault of vpclab's own.\n\n\
                  Start with `vpclab demo`; it needs no root and no configuration."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Globals {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// The lab to work on [default: the only running one; for `up`, the topology's name].
    #[arg(long, global = true, value_name = "NAME")]
    pub lab: Option<String>,
    /// Take the addresses of S3 and DynamoDB, in all regions, from this file: AWS's
    /// ip-ranges.json [default: those of four regions, built in].
    #[arg(long, global = true, value_name = "FILE")]
    pub ip_ranges: Option<PathBuf>,
    /// Say more; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Globals {
    /// The addresses in the file that was named, if one was.
    pub(crate) fn ip_ranges(&self) -> Result<Option<IpRanges>, CliError> {
        let Some(file) = &self.ip_ranges else {
            return Ok(None);
        };
        let bad = |why: String| {
            CliError::usage(format!("--ip-ranges {}: {why}", file.display()))
                .fix(format!("fetch it: curl -O {PUBLISHED}"))
        };
        let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        IpRanges::parse(&text).map(Some).map_err(bad)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch real TCP cross PrivateLink and a GWLB appliance, in this process, without root.
    Demo(demo::Args),
    /// Write a topology file to begin with: one of the examples.
    Init(init::Args),
    /// Start a lab from a topology file, as a background daemon.
    Up(up::Args),
    /// Serve the AWS API, without a topology: VPCs are what is asked for.
    Serve(serve::Args),
    /// Stop a lab; nothing of it stays behind.
    Down(down::Args),
    /// Run a program inside a host, like `docker exec`.
    Exec(exec::Args),
    /// Give an ENI to a container, a pod or a virtual machine.
    Attach(attach::Args),
    /// Take an ENI back from what it was given to.
    Detach(detach::Args),
    /// List hosts, endpoints, load balancers and the health of targets.
    Ps(ps::Args),
    /// Show one resource, or all of them, with state and counters.
    Inspect(inspect::Args),
    /// Check what a topology expects of itself, by trace and by packets; needs no running lab.
    Test(test::Args),
    /// Send a capture's frames through a topology's data plane, and compare what comes out.
    Replay(replay::Args),
    /// Show the path a packet would take, hop by hop, without sending it.
    Trace(trace::Args),
    /// Show what moves, live: ENIs, drops, targets, flows.
    Top(top::Args),
    /// Record packets as pcapng.
    Capture(capture::Args),
    /// List live connections with their translations.
    Flows(flows::Args),
    /// List packets that were dropped: by what, why, and what to change.
    Drops(drops::Args),
    /// Write a running lab as a topology file, whoever made what is in it.
    Export(export::Args),
    /// Make what a topology file describes in a running lab.
    Import(import::Args),
    /// Draw the lab: SVG, Mermaid or Graphviz.
    Graph(graph::Args),
    /// Measure packet rates: a table, or JSON.
    Bench(bench::Args),
    /// Make faults in a running lab: lossy links, dead hosts, zones that are down.
    Fault(fault::Args),
    /// Show what a host's commands have printed.
    Logs(logs::Args),
    /// End a host's commands and start them anew.
    Restart(restart::Args),
    /// Run the reference GWLB appliance: GENEVE in, checks or rules, GENEVE back.
    Appliance(appliance::Args),
    /// Say whether this machine can run labs, and what to change.
    Doctor(doctor::Args),
    /// Print a shell completion script.
    Completions(completions::Args),
    /// Write the man pages into a directory; for packages.
    #[command(hide = true)]
    Man(man::Args),
    /// Print the JSON schema of the topology file.
    #[command(hide = true)]
    Schema(schema::Args),
    /// List the actions of the AWS API that there are.
    #[command(hide = true)]
    AwsActions(aws_actions::Args),
    /// The background process of one lab; started by `up`.
    #[command(hide = true)]
    Daemon(daemon::Args),
    /// Makes a lab's namespaces; started by `up`.
    #[command(hide = true)]
    Launch(launch::Args),
    /// Deletes a virtual machine's TAP; started by `down` and `detach`.
    #[command(hide = true)]
    DeleteTap(delete_tap::Args),
    /// Runs a host's command; started by init.
    #[command(hide = true)]
    Start(start::Args),
    /// PID 1 of a lab; started by the launcher.
    #[command(hide = true)]
    Pid1(pid1::Args),
}

/// Parses the arguments, runs the command, prints its error, and says how the
/// process ends. (Wrong arguments exit 2 from within the parser.)
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    table::fit_terminal();
    let exit = match run(cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit
        }
    };
    ExitCode::from(exit.code())
}

/// Runs a parsed command.
pub fn run(cli: Cli) -> Result<Exit, CliError> {
    let globals = &cli.globals;
    if let Some(ranges) = globals.ip_ranges()? {
        ranges.install();
    }
    match cli.command {
        Command::Demo(args) => demo::run(args, globals),
        Command::Init(args) => init::run(args, globals),
        Command::Up(args) => up::run(args, globals),
        Command::Serve(args) => serve::run(args, globals),
        Command::Down(args) => down::run(args, globals),
        Command::Exec(args) => exec::run(args, globals),
        Command::Attach(args) => attach::run(args, globals),
        Command::Detach(args) => detach::run(args, globals),
        Command::Ps(args) => ps::run(args, globals),
        Command::Inspect(args) => inspect::run(args, globals),
        Command::Test(args) => test::run(args, globals),
        Command::Replay(args) => replay::run(args, globals),
        Command::Trace(args) => trace::run(args, globals),
        Command::Capture(args) => capture::run(args, globals),
        Command::Flows(args) => flows::run(args, globals),
        Command::Drops(args) => drops::run(args, globals),
        Command::Export(args) => export::run(args, globals),
        Command::Import(args) => import::run(args, globals),
        Command::Graph(args) => graph::run(args, globals),
        Command::Top(args) => top::run(args, globals),
        Command::Bench(args) => bench::run(args, globals),
        Command::Fault(args) => fault::run(args, globals),
        Command::Logs(args) => logs::run(args, globals),
        Command::Restart(args) => restart::run(args, globals),
        Command::Appliance(args) => appliance::run(args, globals),
        Command::Doctor(args) => doctor::run(args, globals),
        Command::Completions(args) => completions::run(args, globals),
        Command::Man(args) => man::run(args, globals),
        Command::Schema(args) => schema::run(args, globals),
        Command::AwsActions(args) => aws_actions::run(args, globals),
        Command::Daemon(args) => daemon::run(args, globals),
        Command::Launch(args) => launch::run(args, globals),
        Command::DeleteTap(args) => delete_tap::run(args, globals),
        Command::Start(args) => start::run(args, globals),
        Command::Pid1(args) => pid1::run(args, globals),
    }
}

/// Writes to standard output, colours only where they are wanted. A reader that
/// went away (`vpclab ps | head`) is no error.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints a value as one JSON document.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::fault(format!("cannot write JSON: {error}")))?;
    print(&(text + "\n"))
}

/// A value as one line of JSON, for commands that go on; nothing if there is
/// nothing to say.
fn json_line(value: &impl serde::Serialize, silent: bool) -> Result<String, CliError> {
    if silent {
        return Ok(String::new());
    }
    let text = serde_json::to_string(value)
        .map_err(|error| CliError::fault(format!("cannot write JSON: {error}")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn globals_are_accepted_on_either_side_of_the_command() {
        for args in [
            ["vpclab", "--json", "--lab", "a", "ps"],
            ["vpclab", "ps", "--json", "--lab", "a"],
        ] {
            let cli = Cli::try_parse_from(args).expect("parses");
            assert!(cli.globals.json);
            assert_eq!(cli.globals.lab.as_deref(), Some("a"));
        }
    }

    #[test]
    fn exec_leaves_the_programs_own_flags_alone() {
        let cli = Cli::try_parse_from([
            "vpclab", "exec", "client", "--", "curl", "-s", "--json", "x",
        ])
        .expect("parses");
        let Command::Exec(args) = cli.command else {
            panic!("exec")
        };
        assert_eq!(args.host, "client");
        assert_eq!(args.command, ["curl", "-s", "--json", "x"]);
        assert!(!cli.globals.json);
    }

    #[test]
    fn wrong_usage_exits_2() {
        let error = Cli::try_parse_from(["vpclab", "trace", "client"]).expect_err("TO is missing");
        assert_eq!(error.exit_code(), 2);
    }
}
