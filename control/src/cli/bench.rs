//! `vpclab bench`: packet rates, measured here and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::table::Table;
use super::{CliError, Exit, Globals, print, print_json};
use crate::bench::lpm::Prefixes;
use crate::bench::{
    self, BenchError, CaseResult, Comparison, Depth, Options, Report, SUITES, Size, Suite,
    parse_count, plot, run, suite,
};
use crate::host::ids;

/// Arguments of `vpclab bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Suites to run [default: all of them; `--list` names them].
    #[arg(value_name = "SUITE")]
    pub suites: Vec<String>,
    /// List the suites.
    #[arg(long)]
    pub list: bool,
    /// Every frame size with every number of flows, up to 10 million (needs 10 GiB and an hour).
    #[arg(long, conflicts_with = "smoke")]
    pub full: bool,
    /// Run everything once to see that it works; the figures mean nothing.
    #[arg(long)]
    pub smoke: bool,
    /// Flows to measure with, such as 1,30k,1M.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', value_parser = parse_count)]
    pub flows: Vec<u64>,
    /// Frame sizes to measure with: bytes without FCS, or imix.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = str::parse::<Size>)]
    pub size: Vec<Size>,
    /// Only cases with this in their name, such as gwlb/encap or tcp6.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub case: Vec<String>,
    /// Timed rounds of each case; the result is their median.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// Packets handed to the pipeline at once.
    #[arg(long, value_name = "N", default_value_t = crate::bench::BATCH as u64, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub batch: u64,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write plots of cost against flows, routes and rules into this directory.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Compare with a report that `--json` printed before.
    #[arg(long, value_name = "OLD.json")]
    pub compare: Option<PathBuf>,
    /// A real prefix table for the suite lpm: a text file, one prefix a line.
    #[arg(long, value_name = "FILE")]
    pub prefixes: Option<PathBuf>,
}

/// Runs the suites; exits 3 when one does not do what it must.
pub fn run(args: Args, globals: &Globals) -> Result<Exit, CliError> {
    if args.list {
        return list(globals);
    }
    let suites = chosen(&args.suites)?;
    // Wrong files are better known before the run than after it.
    let prefixes = args.prefixes.as_deref().map(prefixes).transpose()?;
    let options = options(&args, prefixes);
    let old = args.compare.as_deref().map(read).transpose()?;
    if let Some(directory) = &args.svg {
        std::fs::create_dir_all(directory).map_err(|error| cannot(directory, &error))?;
    }
    if suites
        .iter()
        .any(|suite| suite.name() == bench::io::Io.name())
    {
        may_make_namespaces();
    }
    let mut view = View::new(globals.json);
    let report = run::run(&suites, &options, &mut view);
    view.bar.finish_and_clear();
    let report = report.map_err(refused)?;
    if let Some(error) = view.failed {
        return Err(error);
    }
    if report.results.is_empty() && report.skipped.is_empty() {
        let parts = args.case.join(", ");
        return Err(
            CliError::usage(format!("no case has `{parts}` in its name"))
                .fix("run without --case to see the names"),
        );
    }
    for plot in args.svg.iter().flat_map(|_| plot::plots(&report)) {
        let path = args.svg.clone().unwrap_or_default().join(&plot.file);
        std::fs::write(&path, &plot.svg).map_err(|error| cannot(&path, &error))?;
        view.say(&format!("wrote {}\n", path.display()));
    }
    let comparison = old.map(|old| Comparison::of(&report, &old));
    if globals.json {
        print_json(&report)?;
        if let Some(comparison) = &comparison {
            eprint!("{}", compared(comparison));
        }
        return Ok(Exit::Ok);
    }
    print(&footer(&report))?;
    if let Some(comparison) = &comparison {
        print(&compared(comparison))?;
    }
    Ok(Exit::Ok)
}

/// The suite io makes namespaces: who is not root may do so in a user namespace,
/// which is entered while this process has one thread.
fn may_make_namespaces() {
    if !nix::unistd::geteuid().is_root()
        && let Err(error) = ids::enter_user_namespace()
    {
        // What needs none is measured all the same.
        let CliError { message, fix, .. } = CliError::from(error);
        eprintln!("{message}; {}", fix.unwrap_or_default());
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
}

/// A prefix table.
fn prefixes(path: &Path) -> Result<Prefixes, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot(path, &error))?;
    Prefixes::parse(&text).map_err(|error| {
        CliError::usage(format!("{}: {error}", path.display()))
            .fix("give a text file of prefixes, one a line; zstd -d unpacks a packed one")
    })
}

/// An older report.
fn read(path: &Path) -> Result<Report, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot(path, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        CliError::usage(format!("{} is no report: {error}", path.display()))
            .fix("make one: vpclab bench --json > OLD.json")
    })
}

/// The comparison as text.
fn compared(comparison: &Comparison) -> String {
    let mut text = String::from("\n");
    for difference in &comparison.machines {
        text.push_str(&format!("not the same machine or build: {difference}\n"));
    }
    let mut table = Table::new(["CASE", ">THEN ns", ">NOW ns", ">SPEED", ""]);
    for change in &comparison.changes {
        let verdict = match (change.is_clear, change.speedup >= 1.0) {
            (false, _) => "",
            (true, true) => "faster",
            (true, false) => "slower",
        };
        table.row([
            change.name.clone().into(),
            number(change.then_ns).into(),
            number(change.now_ns).into(),
            format!("{:.2}×", change.speedup).into(),
            verdict.into(),
        ]);
    }
    text.push_str(&table.render());
    for (what, names) in [
        ("only now", &comparison.new),
        ("only then", &comparison.gone),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("{what}: {}\n", names.join(", ")));
        }
    }
    text.push_str("faster, slower: the spreads of the two do not overlap\n");
    text
}

fn refused(error: BenchError) -> CliError {
    CliError::fault(error.to_string())
}

fn list(globals: &Globals) -> Result<Exit, CliError> {
    if globals.json {
        let entries: Vec<_> = SUITES
            .iter()
            .map(|suite| serde_json::json!({"suite": suite.name(), "about": suite.about()}))
            .collect();
        print_json(&entries)?;
    } else {
        let mut table = Table::new(["SUITE", "MEASURES"]);
        for suite in SUITES {
            table.row([suite.name().into(), suite.about().into()]);
        }
        print(&table.render())?;
    }
    Ok(Exit::Ok)
}

/// The suites of these names, each once; all of them if none is named.
fn chosen(names: &[String]) -> Result<Vec<&'static dyn Suite>, CliError> {
    let mut chosen: Vec<&'static dyn Suite> = Vec::new();
    for name in names {
        let Some(found) = suite(name) else {
            let known: Vec<&str> = SUITES.iter().map(|suite| suite.name()).collect();
            return Err(CliError::usage(format!("no suite is called `{name}`"))
                .fix(format!("choose among: {}", known.join(", "))));
        };
        if chosen.iter().all(|other| other.name() != found.name()) {
            chosen.push(found);
        }
    }
    if chosen.is_empty() {
        chosen = SUITES.to_vec();
    }
    Ok(chosen)
}

fn options(args: &Args, prefixes: Option<Prefixes>) -> Options {
    let depth = match (args.full, args.smoke) {
        (true, _) => Depth::Full,
        (_, true) => Depth::Smoke,
        _ => Depth::Normal,
    };
    Options {
        depth,
        sizes: args.size.clone(),
        flows: args.flows.clone(),
        rounds: if args.smoke { 1 } else { args.rounds as usize },
        batch: args.batch as usize,
        seed: args.seed,
        only: args.case.clone(),
        prefixes: prefixes.map(Arc::new),
    }
}

/// Rows as they come, and a bar on standard error while they are awaited.
struct View {
    bar: ProgressBar,
    json: bool,
    failed: Option<CliError>,
}

impl View {
    fn new(json: bool) -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            json,
            failed: None,
        }
    }

    fn say(&mut self, text: &str) {
        if !self.json {
            let said = self.bar.suspend(|| print(text));
            self.failed = self.failed.take().or(said.err());
        }
    }
}

impl run::Watch for View {
    fn suite(&mut self, name: &str, about: &str, cases: usize) {
        self.bar.set_length(cases as u64);
        self.bar.set_position(0);
        self.say(&format!(
            "{name}: {about}\n{:<44} {:>8} {:>15} {:>7} {:>7} {:>8} {:>7} {:>7}\n",
            "", "ns", "min–max", "floor", "net", "M/s", "allocs", "others"
        ));
    }

    fn doing(&mut self, case: &str, what: &str) {
        self.bar.set_message(format!("{case}: {what}"));
        self.bar.tick();
    }

    fn result(&mut self, result: &CaseResult) {
        self.bar.inc(1);
        self.say(&row(result));
    }

    fn skipped(&mut self, skipped: &crate::bench::Skipped) {
        self.bar.inc(1);
        self.say(&format!(
            "  {}: not measured: {}\n",
            skipped.name, skipped.reason
        ));
    }
}

/// One line of the table. Figures are per packet unless the unit is named.
fn row(result: &CaseResult) -> String {
    let name = match result.unit.as_str() {
        "packet" => result.name.clone(),
        unit => format!("{} (per {unit})", result.name),
    };
    let optional = |spread: Option<crate::bench::Spread>| {
        spread.map_or(String::from("–"), |spread| number(spread.median))
    };
    let allocs = result
        .allocs_per_packet
        .map_or(String::from("–"), number_or_zero);
    let mut line = format!(
        "{name:<44} {:>8} {:>15} {:>7} {:>7} {:>8} {:>7} {:>6.0}%\n",
        number(result.ns.median),
        format!("{}–{}", number(result.ns.min), number(result.ns.max)),
        optional(result.floor_ns),
        optional(result.net_ns),
        number(result.mpps),
        allocs,
        result.others_percent,
    );
    for (name, value) in &result.metrics {
        // A figure of several rounds stands with its least and its most.
        let of = |end: &str| result.metrics.get(&format!("{name}_{end}"));
        let is_end = ["_min", "_max"].iter().any(|end| {
            let figure = name.strip_suffix(end);
            figure.is_some_and(|figure| result.metrics.contains_key(figure))
        });
        if is_end {
            continue;
        }
        line.push_str(&format!(
            "    {} {}",
            name.replace('_', " "),
            number(*value)
        ));
        if let (Some(least), Some(most)) = (of("min"), of("max")) {
            line.push_str(&format!(" ({}–{})", number(*least), number(*most)));
        }
        line.push('\n');
    }
    line
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn number_or_zero(value: f64) -> String {
    if value == 0.0 {
        String::from("0")
    } else {
        number(value)
    }
}

fn footer(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "\n{} × {} ({}), Linux {}, huge pages {}, load {}, vpclab {}\n",
        machine.cpus,
        machine.cpu,
        machine.features.join(" "),
        machine.kernel,
        machine.huge_pages,
        machine.load,
        machine.version
    );
    text.push_str(
        "ns: median of the rounds, with the harness in it; floor: the harness alone; net: the difference; others: CPU that other programs took\n",
    );
    if !machine.optimised {
        text.push_str(
            "This build is not optimised: the figures mean nothing. Use cargo run --release.\n",
        );
    }
    text
}
