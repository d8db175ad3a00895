//! `vpclab init`: a topology file to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{CliError, Exit, Globals};

/// Arguments of `vpclab init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without EXAMPLE it lists them.\n\n\
                        Example: vpclab init privatelink && vpclab up privatelink.yaml --wait")]
pub struct Args {
    /// The example [default: list them].
    pub example: Option<String>,
    /// Write to this file; `-` is standard output [default: EXAMPLE.yaml].
    #[arg(short, long, value_name = "FILE", requires = "example")]
    pub output: Option<PathBuf>,
}

/// The examples by name, as the program was built with them.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "privatelink",
        include_str!("../../../examples/privatelink.yaml"),
    ),
    (
        "privatelink-ha",
        include_str!("../../../examples/privatelink-ha.yaml"),
    ),
    (
        "three-tier",
        include_str!("../../../examples/three-tier.yaml"),
    ),
    (
        "s3-gateway",
        include_str!("../../../examples/s3-gateway.yaml"),
    ),
    (
        "aws-services",
        include_str!("../../../examples/aws-services.yaml"),
    ),
    (
        "inspection-nat",
        include_str!("../../../examples/inspection-nat.yaml"),
    ),
    (
        "gwlb-inspection",
        include_str!("../../../examples/gwlb-inspection.yaml"),
    ),
    ("hybrid", include_str!("../../../examples/hybrid.yaml")),
    (
        "east-west",
        include_str!("../../../examples/east-west.yaml"),
    ),
];

/// Writes the file, never over another.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    let Some(name) = args.example else {
        return list(globals);
    };
    let found = EXAMPLES.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| {
        let names: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        CliError::usage(format!("no example is named `{name}`"))
            .fix(format!("one of {}", names.join(", ")))
    })?;
    // What its comments say to type is right where the file will be.
    let path = args
        .output
        .unwrap_or_else(|| PathBuf::from(format!("{name}.yaml")));
    if path == Path::new("-") {
        super::print(&standing_at(text, &name, "FILE"))?;
        return Ok(Exit::Ok);
    }
    let shown = path.display().to_string();
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CliError::usage(format!("{shown} is there already"))
            .fix("write to another: -o FILE; or remove it first"),
        _ => CliError::usage(format!("{shown}: {error}")),
    })?;
    file.write_all(standing_at(text, &name, &shown).as_bytes())?;
    if globals.json {
        super::print_json(&json!({"example": name, "file": shown}))?;
    } else {
        super::print(&format!(
            "{shown} is written: {}\nstart it: vpclab up {shown} --wait\n",
            title(text)
        ))?;
    }
    Ok(Exit::Ok)
}

fn list(globals: &Globals) -> Result<Exit, CliError> {
    if globals.json {
        let all = EXAMPLES.iter().map(|&(name, text)| {
            json!({
                "name": name,
                "title": title(text),
            })
        });
        super::print_json(&all.collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let width = EXAMPLES.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or_default();
    let mut out = String::new();
    for (name, text) in EXAMPLES {
        out.push_str(&format!("{name:width$}  {}\n", title(text)));
    }
    super::print(&(out + "\nto write one: vpclab init NAME\n"))?;
    Ok(Exit::Ok)
}

/// The first line says what an example is.
fn title(text: &str) -> &str {
    let first = text.lines().next().unwrap_or_default();
    first.trim_start_matches(['#', ' ']).trim_end_matches('.')
}

/// The text with its own place in the commands that it names.
fn standing_at(text: &str, name: &str, path: &str) -> String {
    text.replace(&format!("examples/{name}.yaml"), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn every_example_is_there_and_is_one() {
        let mut files: Vec<_> = std::fs::read_dir("../examples")
            .expect("the examples")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
            .collect::<Vec<String>>();
        files.sort();
        let mut names: Vec<_> = EXAMPLES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(files, names);
        for &(name, text) in EXAMPLES {
            assert!(text.starts_with("# ") && !title(text).is_empty(), "{name}");
            let written = standing_at(text, name, "mine.yaml");
            assert!(!written.contains("examples/"), "{name}");
            assert!(written.contains("vpclab up mine.yaml"), "{name}");
            Topology::parse("mine.yaml", &written).expect(name);
        }
    }
}
