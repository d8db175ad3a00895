//! The machine that measured, and how busy it was with other things.

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine and the build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: u64,
    /// Vector instruction sets that matter here.
    pub features: Vec<String>,
    /// Kernel release.
    pub kernel: String,
    /// Setting of transparent huge pages: `always`, `madvise` or `never`.
    pub huge_pages: String,
    /// Load average of the last minute when the run began.
    pub load: f64,
    /// Version of vpclab.
    pub version: String,
    /// Whether the build is optimised; figures of one that is not mean nothing.
    pub optimised: bool,
}

impl Machine {
    /// Looks at this machine. What cannot be read is left empty.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let flags = field("flags");
        let has = |name: &str| flags.split(' ').any(|flag| flag == name);
        let known = ["avx2", "avx512f", "avx512vbmi", "avx512_vpopcntdq"];
        let huge_pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        let chosen = huge_pages
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        let load = read("/proc/loadavg");
        Self {
            cpu: field("model name"),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            features: known
                .into_iter()
                .filter(|name| has(name))
                .map(str::to_owned)
                .collect(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            huge_pages: chosen
                .map(|(chosen, _)| chosen.to_owned())
                .unwrap_or_default(),
            load: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }

    /// What makes figures of two machines incomparable, in words.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = [
            ("cpu", self.cpu.clone(), other.cpu.clone()),
            ("cpus", self.cpus.to_string(), other.cpus.to_string()),
            (
                "features",
                self.features.join(" "),
                other.features.join(" "),
            ),
            ("kernel", self.kernel.clone(), other.kernel.clone()),
            (
                "huge pages",
                self.huge_pages.clone(),
                other.huge_pages.clone(),
            ),
            (
                "optimised",
                self.optimised.to_string(),
                other.optimised.to_string(),
            ),
        ];
        let differ = pairs.into_iter().filter(|(_, a, b)| a != b);
        differ
            .map(|(what, a, b)| format!("{what}: {b} then, {a} now"))
            .collect()
    }
}

/// Time that CPUs have spent, in clock ticks since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy {
    busy: u64,
    total: u64,
    own: u64,
    /// Of `busy`, what interrupts took.
    interrupts: u64,
}

impl Busy {
    /// The times now; zeros where /proc is not there.
    pub fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self::parse(&stat, &own)
    }

    fn parse(stat: &str, own: &str) -> Self {
        let first = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guest time is in user.
        let times: Vec<u64> = first
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|time| time.parse().ok())
            .collect();
        let total: u64 = times.iter().sum();
        let idle = times.get(3..5).map_or(0, |idle| idle.iter().sum());
        // The second field is a name in brackets that may hold anything.
        let after = own.rsplit_once(')').map_or("", |(_, after)| after);
        let own = after.split_whitespace().skip(11).take(2);
        Self {
            busy: total - idle,
            total,
            own: own.filter_map(|time| time.parse::<u64>().ok()).sum(),
            interrupts: times.get(5..7).map_or(0, |times| times.iter().sum()),
        }
    }

    /// Share of all CPUs, in percent, that something other than this process
    /// took since `earlier`, time stolen by the hypervisor included.
    pub fn others_percent(self, earlier: Self) -> f64 {
        self.percent(earlier, false)
    }

    /// The same without interrupts: the kernel moves packets in them.
    pub fn other_programs_percent(self, earlier: Self) -> f64 {
        self.percent(earlier, true)
    }

    fn percent(self, earlier: Self, less_interrupts: bool) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let busy = self.busy.saturating_sub(earlier.busy);
        let mut others = busy.saturating_sub(self.own.saturating_sub(earlier.own));
        if less_interrupts {
            others = others.saturating_sub(self.interrupts.saturating_sub(earlier.interrupts));
        }
        if total == 0 {
            0.0
        } else {
            100.0 * others as f64 / total as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_others_leaves_out_what_is_ours() {
        let own = |ticks| format!("1 (a ) b) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 5 0 0 20");
        let before = Busy::parse("cpu 100 0 50 800 50 0 0 0 0 0\ncpu0 1", &own(10));
        let after = Busy::parse("cpu 200 0 80 850 50 0 10 10 0 0\ncpu0 1", &own(100));
        // 200 ticks passed, 150 of them busy, 90 of those ours.
        assert!((after.others_percent(before) - 30.0).abs() < 1e-9);
        // Ten of those were interrupts.
        assert!((after.other_programs_percent(before) - 25.0).abs() < 1e-9);
        assert_eq!(before.others_percent(before).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn this_machine_can_be_read_and_compared() {
        let here = Machine::here();
        assert!(!here.kernel.is_empty() && here.cpus >= 1);
        assert!(here.differences(&here).is_empty());
        let other = Machine {
            kernel: "5.0".to_owned(),
            ..here.clone()
        };
        let said = here.differences(&other);
        assert_eq!(said.len(), 1);
        assert!(said.concat().starts_with("kernel: 5.0 then"), "{said:?}");
    }
}
