//! How probabilities, spans of time and rates are written: `1%`, `20ms`, `10mbit`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::time::Duration;

use crate::topology::located::Scalar;

/// A probability, 0 to 1. Written `1%` or `0.01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chance(f64);

impl Chance {
    /// 0 to 1.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl Scalar for Chance {
    fn parse(text: &str) -> Result<Self, String> {
        let (number, per_cent) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (text, false),
        };
        let value: f64 = number
            .parse()
            .map_err(|_| format!("'{text}' is not a probability; write 1% or 0.01"))?;
        let value = if per_cent { value / 100.0 } else { value };
        match (0.0..=1.0).contains(&value) {
            true => Ok(Self(value)),
            false if !per_cent && (1.0..=100.0).contains(&value) => {
                Err(format!("'{text}' is more than always; write {text}%"))
            }
            false => Err(format!("'{text}' is not between 0% and 100%")),
        }
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through f32: what is written as 0.1% is not shown as 0.1000000001%.
        write!(f, "{}%", (self.0 * 100.0) as f32)
    }
}

/// A span of time. Written `20ms`, `1.5s`, `500us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// The span.
    pub const fn value(self) -> Duration {
        self.0
    }
}

/// Longest span that a link may take: an hour.
const SPAN_MAX_NS: f64 = 3.6e12;

impl Scalar for Span {
    fn parse(text: &str) -> Result<Self, String> {
        let units = [("ms", 1e6), ("us", 1e3), ("ns", 1.0), ("s", 1e9)];
        let found = units
            .iter()
            .find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, ns)));
        let (number, ns) = match found {
            Some((number, ns)) => (number.trim_end(), *ns),
            None if text == "0" => (text, 1.0),
            None => {
                return Err(format!(
                    "'{text}' is not a span of time; write 20ms or 1.5s"
                ));
            }
        };
        let value: f64 = number
            .parse()
            .map_err(|_| format!("'{text}' is not a span of time; write 20ms or 1.5s"))?;
        let nanos = value * ns;
        match (0.0..=SPAN_MAX_NS).contains(&nanos) {
            true => Ok(Self(Duration::from_nanos(nanos.round() as u64))),
            false => Err(format!("'{text}' is not between 0s and 3600s")),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, size) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("us", 1_000),
            1_000_000..1_000_000_000 => ("ms", 1_000_000),
            _ => ("s", 1_000_000_000),
        };
        write!(f, "{}{unit}", nanos as f64 / f64::from(size))
    }
}

/// Bits per second. Written `10mbit`, `1gbit`, `64kbit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate(u64);

impl Rate {
    /// Bits per second; 0 is no limit.
    pub const fn value(self) -> u64 {
        self.0
    }
}

const RATE_UNITS: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

impl Scalar for Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a rate; write 10mbit, 1gbit or 64kbit");
        if text == "0" {
            return Ok(Self(0));
        }
        let lower = text.to_ascii_lowercase();
        let found = RATE_UNITS
            .iter()
            .find_map(|(unit, bits)| Some((lower.strip_suffix(unit)?, *bits)));
        let (number, bits) = found.ok_or_else(wrong)?;
        let value: f64 = number.trim_end().parse().map_err(|_| wrong())?;
        let rate = value * bits as f64;
        match (1_000.0..=1e12).contains(&rate) {
            true => Ok(Self(rate.round() as u64)),
            false => Err(format!("'{text}' is not between 1kbit and 1000gbit")),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = RATE_UNITS.iter().find(|(_, bits)| self.0 >= *bits);
        match whole {
            Some((unit, bits)) => write!(f, "{}{unit}", self.0 as f64 / *bits as f64),
            None => f.write_str("0"),
        }
    }
}

macro_rules! as_text {
    ($($type:ident)*) => {$(
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

as_text! { Chance Span Rate }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_shown() {
        for text in ["0%", "0.1%", "1%", "33.3%", "100%"] {
            assert_eq!(Chance::parse(text).unwrap().to_string(), text);
        }
        for text in ["0ns", "20ms", "1.5s", "250us"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for text in ["10mbit", "1.5gbit", "64kbit"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Chance::parse("0.25").unwrap().value(), 0.25);
        assert_eq!(
            Span::parse("20ms").unwrap().value(),
            Duration::from_millis(20)
        );
        assert_eq!(Rate::parse("10Mbit").unwrap().value(), 10_000_000);
    }

    #[test]
    fn wrong_ones_say_how_to_write_them() {
        let of = |error: Result<Chance, String>| error.unwrap_err();
        assert_eq!(of(Chance::parse("5")), "'5' is more than always; write 5%");
        assert_eq!(
            of(Chance::parse("101%")),
            "'101%' is not between 0% and 100%"
        );
        assert_eq!(of(Chance::parse("-1%")), "'-1%' is not between 0% and 100%");
        assert_eq!(
            of(Chance::parse("often")),
            "'often' is not a probability; write 1% or 0.01"
        );
        for text in ["20", "ms", "-1s", "2h", "4000s", "NaNs"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        for text in ["10", "10mb", "1bit", "fast", "infgbit"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }
}
