//! The private DNS name of an endpoint service.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{EndpointService, hash};

/// Where the proof stands that the provider has the name's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivateDnsState {
    /// Nobody has looked yet.
    PendingVerification,
    /// The TXT record was there.
    Verified,
    /// It was not.
    Failed,
}

impl PrivateDnsState {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PendingVerification => "pendingVerification",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// The name by which consumers reach a service, once it is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateDns {
    /// The name, in lower case, without a dot at its end; `*.` may begin it.
    pub name: Arc<str>,
    /// Whether the provider has shown that it may have it.
    pub state: PrivateDnsState,
}

impl EndpointService {
    /// Label and text of the TXT record that proves the domain: at
    /// `label.domain` (P:manage-dns-names).
    pub fn verification(&self) -> (String, String) {
        let word = |salt| -> String {
            let mut rest = hash(salt, self.id.as_str());
            let digits = (0..20u64).map(|n| {
                let digit = (rest % 36) as u32;
                rest = (rest / 36) ^ hash(n, self.id.as_str());
                char::from_digit(digit, 36).unwrap_or('0')
            });
            digits.collect()
        };
        (format!("_{}", word(1)), format!("vpce:{}", word(2)))
    }

    /// The name that endpoints may use: given and verified.
    pub fn usable_private_dns(&self) -> Option<&Arc<str>> {
        let held = self.private_dns.as_ref()?;
        (held.state == PrivateDnsState::Verified).then_some(&held.name)
    }
}
