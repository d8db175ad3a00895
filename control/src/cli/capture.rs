//! `vpclab capture`: a host's packets, as pcapng.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{CliError, Exit, Globals, capture_text};
use crate::host::client;
use crate::host::protocol::{CaptureRequest, Request};

/// Arguments of `vpclab capture`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: vpclab capture web -w - | wireshark -k -i -\n          \
                        vpclab capture --drops --filter 'tcp port 443' -w drops.pcapng\n\n\
                        docs/filters.md describes filters."
)]
pub struct Args {
    /// Name of a host, endpoint or load balancer, or an ENI (`eni-…`) [default: all].
    #[arg(value_name = "HOST|ENI")]
    pub port: Option<String>,
    /// Only packets that this filter wants: 'tcp and port 80'.
    #[arg(long, value_name = "FILTER")]
    pub filter: Option<String>,
    /// Only packets that were dropped; the packet comment says why.
    #[arg(long)]
    pub drops: bool,
    /// Write pcapng to this file; `-` is standard output [default: print a line per packet].
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<std::path::PathBuf>,
    /// Stop after this many packets.
    #[arg(short, long, value_name = "N")]
    pub count: Option<u64>,
}

/// Captures until interrupted or `count` is reached.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let lab = client::find_lab(globals)?;
    let filter = match (args.drops, args.filter) {
        (true, Some(filter)) => Some(format!("dropped and ({filter})")),
        (true, None) => Some("dropped".to_owned()),
        (false, filter) => filter,
    };
    let whose = args.port.as_deref().unwrap_or("all ports").to_owned();
    let request = Request::Capture(CaptureRequest {
        port: args.port,
        filter,
        count: args.count,
    });
    let (_, mut stream) = client::open(&lab, &request)?;
    let copied = match args.write {
        None => return capture_text::print(stream),
        Some(path) if path == Path::new("-") => copy(&mut stream, &mut io::stdout().lock()),
        Some(path) => {
            let file = File::create(&path);
            let mut file =
                file.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
            // From here on nothing is missed.
            eprintln!("capturing {whose} to {}; Ctrl-C ends it", path.display());
            copy(&mut stream, &mut file)
        }
    };
    match copied {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        other => other.map(|()| Exit::Ok).map_err(CliError::from),
    }
}

/// Copies as it comes: a reader at the other end of a pipe sees packets live.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..len).unwrap_or_default())?;
        to.flush()?;
    }
}
