//! Numbers as people read them.

/// Bytes, decimal as networks count: `999 B`, `1.5 kB`, `12 MB`.
pub fn bytes(count: u64) -> String {
    scaled(count, "B")
}

/// Packets and the like: `999`, `1.5k`, `12M`.
pub fn count(count: u64) -> String {
    let (number, prefix) = scale(count as f64);
    format!("{number}{prefix}")
}

/// Bits per second: `0 bit/s`, `1.5 Mbit/s`.
pub fn bit_rate(bits_per_second: f64) -> String {
    let (number, prefix) = scale(bits_per_second);
    format!("{number} {prefix}bit/s")
}

/// Seconds: `12s`, `3m05s`, `2h10m`, `4d03h`.
pub fn seconds(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

fn scaled(count: u64, unit: &str) -> String {
    let (number, prefix) = scale(count as f64);
    format!("{number} {prefix}{unit}")
}

/// Three digits at most, and the prefix of the power of 1000.
fn scale(value: f64) -> (String, &'static str) {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let mut value = value.max(0.0);
    let mut steps = PREFIXES.iter();
    let mut prefix = steps.next().copied().unwrap_or_default();
    // 999.5 would be written as 1000.
    while value >= 999.5 {
        let Some(next) = steps.next() else { break };
        value /= 1000.0;
        prefix = next;
    }
    if prefix.is_empty() || value >= 9.95 {
        (format!("{value:.0}"), prefix)
    } else {
        (format!("{value:.1}"), prefix)
    }
}

/// `text` in at most `letters`: names differ at their ends, so the middle goes.
pub fn middle(text: &str, letters: usize) -> String {
    let len = text.chars().count();
    if len <= letters {
        return text.to_owned();
    }
    let tail = letters.saturating_sub(1).div_ceil(2);
    let head = letters.saturating_sub(1) - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(len - tail).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_name_are_left() {
        for (letters, wanted) in [
            (12, "web-server-1"),
            (11, "web-s…ver-1"),
            (6, "we…r-1"),
            (2, "…1"),
            (1, "…"),
        ] {
            assert_eq!(middle("web-server-1", letters), wanted);
        }
    }

    #[test]
    fn three_digits_are_enough() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1549, "1.5 kB"),
            (9_949, "9.9 kB"),
            (9_951, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18447 PB"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(count(12_345), "12k");
        assert_eq!(bit_rate(2_500_000.0), "2.5 Mbit/s");
        assert_eq!(bit_rate(f64::NAN), "0 bit/s");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (65, "1m05s"),
            (3600, "1h00m"),
            (97_200, "1d03h"),
        ];
        for (number, text) in cases {
            assert_eq!(seconds(number), text);
        }
    }
}
