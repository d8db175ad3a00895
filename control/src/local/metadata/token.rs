//! Session tokens: they say of which host and until when, under a keyed hash,
//! so that nothing has to be remembered.
//!
//! ASSUMPTION: what is in a token is AWS's secret. The hash keeps a program
//! from using another host's or a late one, not an attacker from forging one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use vpclab_dataplane::time::{Duration, Instant};

use crate::model::hash;

/// Six hours.
pub(super) const TTL_MAX_S: u32 = 21_600;
const LEN: usize = 40;

/// A token of `host` for so many seconds.
pub(super) fn make(host: &str, now: Instant, ttl_s: u32, seed: u64) -> String {
    let until = now + Duration::from_secs(u64::from(ttl_s));
    URL_SAFE.encode(content(host, until.as_nanos(), seed))
}

/// Whether it is one, of this host, and not too old.
pub(super) fn is_valid(token: &str, host: &str, now: Instant, seed: u64) -> bool {
    let Ok(bytes) = URL_SAFE.decode(token.trim()) else {
        return false;
    };
    let Some(until) = bytes.first_chunk::<8>() else {
        return false;
    };
    let until = u64::from_be_bytes(*until);
    bytes == content(host, until, seed) && Instant::from_nanos(until) > now
}

fn content(host: &str, until: u64, seed: u64) -> [u8; LEN] {
    let mut content = [0; LEN];
    let mut word = until;
    for (n, place) in content.chunks_exact_mut(8).enumerate() {
        place.copy_from_slice(&word.to_be_bytes());
        word = hash(seed.rotate_left(n as u32) ^ word ^ until, host);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_host_and_its_time() {
        let now = Instant::from_nanos(5);
        let token = make("a", now, 60, 7);
        assert_eq!(token.len(), 56);
        let late = now + Duration::from_secs(60);
        assert!(is_valid(&token, "a", now, 7));
        assert!(!is_valid(&token, "a", late, 7));
        assert!(!is_valid(&token, "b", now, 7));
        assert!(!is_valid(&token, "a", now, 8));
        assert!(!is_valid("", "a", now, 7));
        assert!(!is_valid(&format!("A{}", &token[1..]), "a", late, 7));
    }
}
