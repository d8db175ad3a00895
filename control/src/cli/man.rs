//! `vpclab man`: man pages, from the same definitions as the help.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::completions::visible;
use super::{Cli, CliError, Exit, Globals};

/// Arguments of `vpclab man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory, which must exist.
    pub directory: PathBuf,
}

/// Writes a page a command.
pub fn run(args: Args, _globals: &Globals) -> Result<Exit, CliError> {
    for (name, page) in pages()? {
        let path = args.directory.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| about(&path, &error))?;
    }
    Ok(Exit::Ok)
}

fn about(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
        .fix("name a directory that exists: mkdir -p man && vpclab man man")
}

/// Name and text of each page: `vpclab`, `vpclab-up`, `vpclab-fault-link`…
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut full = Cli::command();
    full.build();
    let mut found = Vec::new();
    let mut rest = vec![(String::from("vpclab"), full)];
    while let Some((name, command)) = rest.pop() {
        let below: Vec<_> = visible(&command)
            .filter(|below| below.get_name() != "help")
            .map(|below| (format!("{name}-{}", below.get_name()), below.clone()))
            .collect();
        found.push((name.clone(), page(&name, command)?));
        rest.extend(below);
    }
    found.sort();
    Ok(found)
}

fn page(name: &str, command: Command) -> io::Result<Vec<u8>> {
    let main = name == "vpclab";
    // A page is named with hyphens, a command is typed with blanks.
    let command = command
        .display_name(name.to_owned())
        .bin_name(name.replace('-', " "));
    let man = Man::new(command)
        .title(name.to_owned())
        .manual("vpclab".to_owned());
    let mut page = Vec::new();
    man.render(&mut page)?;
    if main {
        page.write_all(FILES.as_bytes())?;
    } else {
        page.write_all(b".SH \"SEE ALSO\"\n.BR vpclab (1)\n")?;
    }
    Ok(page)
}

/// What only the first page has.
const FILES: &str = r#".SH FILES
.TP
.I /run/vpclab/NAME
A running lab of root's.
.TP
.I $XDG_RUNTIME_DIR/vpclab/NAME, /tmp/vpclab-UID/NAME
A running lab of another user's.
.TP
.I /etc/vpclab/NAME.yaml
The topology that the unit vpclab@NAME.service runs.
.TP
.I /usr/share/doc/vpclab
A tour, the topology's JSON schema, filters, metrics, examples.
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_users_type_has_a_page() {
        let pages = pages().expect("pages");
        let find = |name: &str| {
            let found = pages.iter().find(|(known, _)| known == name);
            found.map(|(_, page)| String::from_utf8_lossy(page).into_owned())
        };
        for command in visible(&Cli::command()) {
            let name = format!("vpclab-{}", command.get_name());
            let page = find(&name).unwrap_or_else(|| panic!("{name} has no page"));
            assert!(page.contains(&format!(".TH {name} 1")), "{page}");
            assert!(page.contains(".SH \"SEE ALSO\""), "{name}");
        }
        let link = find("vpclab-fault-link").expect("a command below a command");
        assert!(link.contains("vpclab fault link"), "{link}");
        assert!(find("vpclab").is_some_and(|page| page.contains(".SH FILES")));
        assert_eq!(find("vpclab-daemon"), None);
        assert_eq!(find("vpclab-help"), None);
    }
}
