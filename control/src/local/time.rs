//! The time service: answers NTP clients from the clock that is passed in.
//!
//! AWS: EC2 "Set the time reference" (169.254.169.123, stratum 3 as its clients
//! see it: ASSUMPTION); RFC 5905, RFC 4330 (SNTP).

/// Seconds from NTP's first day (1900) to Unix's (1970).
const NTP_OFFSET_S: u64 = 2_208_988_800;
const LEN: usize = 48;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
const STRATUM: u8 = 3;
/// The clock's steps: 2^-20 s, a microsecond.
const PRECISION: u8 = (-20i8) as u8;

/// The answer to a client's packet; none to anything else. `unix_ns` is the
/// time in nanoseconds since 1970.
pub(super) fn answer(asked: &[u8], unix_ns: u64) -> Option<Vec<u8>> {
    let asked = asked.first_chunk::<LEN>()?;
    let (version, mode) = (asked[0] >> 3 & 7, asked[0] & 7);
    if mode != CLIENT || !(1..=4).contains(&version) {
        return None;
    }
    let now = ntp(unix_ns);
    // The server's own clock was set on the last full second.
    let set = ntp(unix_ns / 1_000_000_000 * 1_000_000_000);
    let mut answer = Vec::with_capacity(LEN);
    answer.extend([version << 3 | SERVER, STRATUM, asked[2], PRECISION]);
    answer.extend([0, 0, 0, 1]); // Root delay: 15 µs.
    answer.extend([0, 0, 0, 1]); // Root dispersion, the same.
    answer.extend([169, 254, 169, 122]); // Whom it follows.
    answer.extend(set);
    answer.extend(asked.get(40..48)?);
    answer.extend(now);
    answer.extend(now);
    Some(answer)
}

/// Seconds since 1900, modulo 2^32, and the fraction.
fn ntp(unix_ns: u64) -> [u8; 8] {
    let seconds = unix_ns / 1_000_000_000 + NTP_OFFSET_S;
    let fraction = ((unix_ns % 1_000_000_000) << 32) / 1_000_000_000;
    (seconds << 32 | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_own_time_back_and_ours() {
        let mut asked = [0u8; LEN];
        asked[0] = 4 << 3 | CLIENT;
        asked[40..].copy_from_slice(b"whenever");
        // 2026-01-01 00:00:00.5
        let answer = answer(&asked, 1_767_225_600_500_000_000).unwrap();
        assert_eq!(answer.len(), LEN);
        assert_eq!(answer[..2], [4 << 3 | SERVER, STRATUM]);
        assert_eq!(answer[24..32], *b"whenever");
        let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
        assert_eq!(u64::from(seconds) - NTP_OFFSET_S, 1_767_225_600);
        assert_eq!(answer[44..48], [0x80, 0, 0, 0]);
        assert_eq!(answer[32..40], answer[40..48]);
    }

    #[test]
    fn servers_and_short_packets_get_nothing() {
        let mut asked = [0u8; LEN];
        asked[0] = 4 << 3 | SERVER;
        assert_eq!(answer(&asked, 0), None);
        asked[0] = CLIENT;
        assert_eq!(answer(&asked, 0), None, "version 0");
        asked[0] = 3 << 3 | CLIENT;
        assert!(answer(&asked, 0).is_some());
        assert_eq!(answer(&asked[..47], 0), None);
    }
}
