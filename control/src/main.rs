//! The `vpclab` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    vpclab::cli::main()
}
