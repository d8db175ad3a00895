//! What to measure: frame sizes, flows, and how long.

use std::fmt;
use std::str::FromStr;

use super::Kind;

/// How big frames are, in bytes from the Ethernet header on, without FCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All of one size.
    Bytes(usize),
    /// "Internet mix": of twelve frames seven of 64, four of 570 and one of 1518 bytes.
    Imix,
}

impl Size {
    /// The sizes that a suite covers.
    pub const ALL: [Self; 6] = [
        Self::Bytes(64),
        Self::Bytes(128),
        Self::Bytes(512),
        Self::Bytes(1518),
        Self::Bytes(9001),
        Self::Imix,
    ];

    /// The smallest and the largest frame that can be asked for: an IPv6 TCP
    /// header does not fit into less, an ENI's MTU and its Ethernet header are the end.
    pub const RANGE: std::ops::RangeInclusive<usize> = 64..=9015;

    /// The same, but no larger than what an IP packet of `mtu` bytes fills.
    #[must_use]
    pub fn within(self, mtu: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.min(mtu + 14)),
            Self::Imix => Self::Imix,
        }
    }

    /// Length of the longest frame.
    pub const fn longest(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => 1_518,
        }
    }

    /// Length of the `n`-th frame.
    pub fn of(self, n: u64) -> usize {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Imix => match n % 12 {
                1 | 4 | 7 | 10 => 570,
                6 => 1518,
                _ => 64,
            },
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
            Self::Imix => write!(f, "imix"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let digits = text.strip_suffix(['B', 'b']).unwrap_or(text);
        match digits.parse() {
            Ok(bytes) if Self::RANGE.contains(&bytes) => Ok(Self::Bytes(bytes)),
            _ => Err(format!(
                "'{text}' is no frame size: give {} to {} bytes, or imix",
                Self::RANGE.start(),
                Self::RANGE.end()
            )),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Everything once and short, to see that it works; the figures mean nothing.
    Smoke,
    /// What fits in about a minute a suite.
    #[default]
    Normal,
    /// Every size with every number of flows, up to 10 million.
    Full,
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much.
    pub depth: Depth,
    /// Frame sizes asked for; all that the depth has if empty.
    pub sizes: Vec<Size>,
    /// Flows asked for; all that the depth has if empty.
    pub flows: Vec<u64>,
    /// Timed rounds of each case; the result is their median.
    pub rounds: usize,
    /// Packets handed to the pipeline at once.
    pub batch: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Only cases whose whole name has one of these in it; all if empty.
    pub only: Vec<String>,
    /// A real prefix table, looked up in besides those that are made.
    pub prefixes: Option<std::sync::Arc<super::lpm::Prefixes>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: Depth::Normal,
            sizes: Vec::new(),
            flows: Vec::new(),
            rounds: 7,
            batch: super::BATCH,
            seed: 1,
            only: Vec::new(),
            prefixes: None,
        }
    }
}

impl Options {
    /// Options under which everything runs once, in no time.
    pub fn smoke() -> Self {
        Self {
            depth: Depth::Smoke,
            rounds: 1,
            ..Self::default()
        }
    }

    /// The pairs of size and flows to measure. Normally every number of flows
    /// with the smallest frame, and every size with 1 000 flows.
    pub fn grid(&self) -> Vec<(Size, u64)> {
        let flows: &[u64] = match (self.flows.as_slice(), self.depth) {
            ([], Depth::Smoke) => &[100],
            ([], Depth::Normal) => &[1, 1_000, 100_000, 1_000_000],
            ([], Depth::Full) => &[1, 1_000, 100_000, 1_000_000, 10_000_000],
            (asked, _) => asked,
        };
        let sizes: &[Size] = match self.sizes.as_slice() {
            [] => &Size::ALL,
            asked => asked,
        };
        let whole = self.depth == Depth::Full || !self.sizes.is_empty() || flows.len() == 1;
        let middle = flows
            .iter()
            .copied()
            .find(|&flows| flows == 1_000)
            .or(flows.first().copied());
        let pairs = sizes.iter().enumerate().flat_map(|(nth, &size)| {
            flows
                .iter()
                .filter(move |&&flows| whole || nth == 0 || Some(flows) == middle)
                .map(move |&flows| (size, flows))
        });
        pairs.collect()
    }

    /// The same for a suite that forwards packets: all of that for TCP over IPv4; of other
    /// kinds the smallest frame, with a thousand flows and more that a table holds well.
    pub fn kinds(&self) -> Vec<(Kind, Size, u64)> {
        let smallest = self.sizes.first().copied().unwrap_or(Size::Bytes(64));
        let grid = self.grid();
        let mut all = Vec::new();
        for kind in Kind::ALL {
            let mut cases = grid.clone();
            if kind != Kind::Tcp4 {
                let few = self.flows.is_empty() && self.depth == Depth::Normal;
                cases.retain(|&(size, flows)| {
                    size == smallest && (!few || [1_000, 100_000].contains(&flows))
                });
            }
            let cases = cases.into_iter();
            all.extend(cases.map(|(size, flows)| (kind, kind.at_least(size), flows)));
        }
        all
    }

    /// Whether the case of this whole name was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// The fewest operations of a timed round: enough that the clock's grain
    /// and one interrupt do not matter.
    pub fn operations(&self) -> u64 {
        match self.depth {
            Depth::Smoke => 1_000,
            Depth::Normal => 500_000,
            Depth::Full => 2_000_000,
        }
    }
}

/// A number with an optional k or M: `512`, `30k`, `1M`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.chars().last() {
        Some('k' | 'K') => (text.get(..text.len() - 1), 1_000),
        Some('m' | 'M') => (text.get(..text.len() - 1), 1_000_000),
        _ => (Some(text), 1),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(count @ 1..=100_000_000) => Ok(count),
        _ => Err(format!(
            "'{text}' is no count: give 1 to 100M, such as 1000, 30k or 1M"
        )),
    }
}

/// Several counts, with commas between.
pub fn parse_counts(text: &str) -> Result<Vec<u64>, String> {
    text.split(',').map(parse_count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_are_read_and_wrong_ones_named() {
        assert_eq!(parse_counts("1,30k,1M"), Ok(vec![1, 30_000, 1_000_000]));
        for wrong in ["", "0", "k", "-1", "1.5", "101M", "99999999999999999999M"] {
            let error = parse_count(wrong).unwrap_err();
            assert!(error.contains(&format!("'{wrong}'")), "{error}");
        }
        assert_eq!("512".parse(), Ok(Size::Bytes(512)));
        assert_eq!("9001B".parse(), Ok(Size::Bytes(9001)));
        assert_eq!("IMIX".parse(), Ok(Size::Imix));
        for wrong in ["63", "9016", "big", "", "é"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
            assert!(parse_count(wrong).is_err() || wrong.parse::<u64>().is_ok());
        }
    }

    #[test]
    fn the_grid_covers_all_sizes_and_all_flows() {
        let normal = Options::default().grid();
        for size in Size::ALL {
            assert!(normal.contains(&(size, 1_000)), "{size}");
        }
        for flows in [1, 1_000, 100_000, 1_000_000] {
            assert!(normal.contains(&(Size::Bytes(64), flows)), "{flows}");
        }
        assert_eq!(normal.len(), 9);
        let full = Options {
            depth: Depth::Full,
            ..Options::default()
        };
        assert_eq!(full.grid().len(), 30);
        assert_eq!(Options::default().kinds().len(), 9 + 3 * 2);
        let six = (Kind::Tcp6, Size::Bytes(74), 100_000);
        assert!(Options::default().kinds().contains(&six));
        let asked = Options {
            sizes: vec![Size::Bytes(64), Size::Imix],
            flows: vec![512, 30_000],
            ..Options::default()
        };
        assert_eq!(asked.grid().len(), 4);
    }

    #[test]
    fn the_mix_has_the_usual_shares() {
        let lengths: Vec<usize> = (0..12).map(|n| Size::Imix.of(n)).collect();
        let count = |bytes| lengths.iter().filter(|&&length| length == bytes).count();
        assert_eq!((count(64), count(570), count(1518)), (7, 4, 1));
    }
}
