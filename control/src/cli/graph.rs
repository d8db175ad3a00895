//! `vpclab graph`: a lab as a picture.

use std::path::{Path, PathBuf};

use super::{CliError, Exit, Globals};
use crate::graph::{self, Format};
use crate::host::client;
use crate::host::protocol::Request;
use crate::topology::Topology;

/// Arguments of `vpclab graph`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: vpclab graph examples/three-tier.yaml -o map.svg\n          \
                        vpclab graph --format mermaid          # the running lab, to stdout"
)]
pub struct Args {
    /// Topology file, or the name of a running lab [default: the running lab].
    #[arg(value_name = "FILE|LAB", conflicts_with = "lab")]
    pub of: Option<String>,
    /// Write to this file; its end says the format: .svg, .mmd or .dot.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Format [default: as the file ends, else svg].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// Draws the picture.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let format = format(&args)?;
    let text = match &args.of {
        Some(of) if is_file(of) => in_file(Path::new(of), format)?,
        named => {
            let mut globals = globals.clone();
            globals.lab = named.clone().or(globals.lab);
            let lab = client::find_lab(&globals).map_err(|error| match named {
                Some(name) => CliError::usage(format!("`{name}` is no file and no running lab"))
                    .fix("name a topology file or a lab that runs"),
                None => error
                    .fix("name a topology file: vpclab graph FILE; or start a lab: vpclab up FILE"),
            })?;
            client::understand(client::ask(&lab, &Request::Graph { format })?)?
        }
    };
    match args.output {
        None => super::print(&text)?,
        Some(path) if path == Path::new("-") => super::print(&text)?,
        Some(path) => std::fs::write(&path, text)
            .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?,
    }
    Ok(Exit::Ok)
}

/// A lab's name has no dot and no slash unless it is meant as a file.
fn is_file(of: &str) -> bool {
    Path::new(of).exists() || of.contains('/') || of.ends_with(".yaml") || of.ends_with(".yml")
}

fn in_file(file: &Path, format: Format) -> Result<String, CliError> {
    let topology = Topology::load(file).map_err(|error| CliError::usage(error.to_string()))?;
    let (control, _) = topology
        .control_plane()
        .map_err(|error| CliError::usage(error.to_string()))?;
    Ok(graph::picture(control.model(), &topology.name, format))
}

fn format(args: &Args) -> Result<Format, CliError> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    let Some(path) = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    else {
        return Ok(Format::Svg);
    };
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or("");
    Format::of_extension(extension).ok_or_else(|| {
        CliError::usage(format!("{}: no such format", path.display()))
            .fix("end the name in .svg, .mmd or .dot, or say --format svg|mermaid|dot")
    })
}
