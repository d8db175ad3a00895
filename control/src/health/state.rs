//! Target-health state machine: probe results in, health out.
//!
//! AWS (NLB guide, "Health checks"): a registered target must pass one health
//! check to be considered healthy; a healthy one fails after
//! `unhealthy_threshold` failures in a row, and an unhealthy one recovers after
//! `healthy_threshold` passes in a row. Failing open is the data plane's part.

use std::collections::BTreeMap;

use vpclab_dataplane::tables::TargetHealth;

use crate::model::{HealthCheck, ProbeFailure};

/// What one node thinks of one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// `Initial`, `Healthy` or `Unhealthy`.
    pub health: TargetHealth,
    /// Why the last failed probe failed; `None` once healthy.
    pub failure: Option<ProbeFailure>,
    /// Results in a row that speak against `health`.
    contrary: u32,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            health: TargetHealth::Initial,
            failure: None,
            contrary: 0,
        }
    }
}

impl Track {
    /// Takes in the result of a probe.
    pub fn observe(&mut self, check: &HealthCheck, result: Result<(), ProbeFailure>) {
        let (verdict, needed) = match result {
            Ok(()) if self.health == TargetHealth::Initial => (TargetHealth::Healthy, 1),
            Ok(()) => (TargetHealth::Healthy, check.healthy_threshold),
            Err(_) => (TargetHealth::Unhealthy, check.unhealthy_threshold),
        };
        if verdict == self.health {
            self.contrary = 0;
        } else {
            self.contrary += 1;
            if self.contrary >= needed {
                self.health = verdict;
                self.contrary = 0;
            }
        }
        match result {
            Err(failure) => self.failure = Some(failure),
            Ok(()) if self.health == TargetHealth::Healthy => self.failure = None,
            Ok(()) => {}
        }
    }
}

/// One target as all the nodes that check it see it. `N` names a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState<N> {
    tracks: BTreeMap<N, Track>,
}

impl<N> Default for TargetState<N> {
    fn default() -> Self {
        Self {
            tracks: BTreeMap::new(),
        }
    }
}

impl<N: Ord> TargetState<N> {
    /// Takes in the result of a probe by `node`.
    pub fn observe(&mut self, node: N, check: &HealthCheck, result: Result<(), ProbeFailure>) {
        self.tracks.entry(node).or_default().observe(check, result);
    }

    /// Forgets nodes that no longer check the target.
    pub fn retain(&mut self, keep: impl Fn(&N) -> bool) {
        self.tracks.retain(|node, _| keep(node));
    }

    /// The one health of the target, and the reason when it is not healthy.
    ///
    /// ASSUMPTION: healthy as soon and as long as one node finds it healthy.
    /// AWS lets each zone decide alone but reports one state per target; one
    /// state is kept here for both.
    pub fn health(&self) -> (TargetHealth, Option<ProbeFailure>) {
        let of = |health| {
            self.tracks
                .values()
                .find(move |track| track.health == health)
        };
        if of(TargetHealth::Healthy).is_some() {
            (TargetHealth::Healthy, None)
        } else if let Some(track) = of(TargetHealth::Unhealthy) {
            (TargetHealth::Unhealthy, track.failure)
        } else {
            (TargetHealth::Initial, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckPort, CheckProtocol};

    fn check(healthy_threshold: u32, unhealthy_threshold: u32) -> HealthCheck {
        HealthCheck {
            protocol: CheckProtocol::Tcp,
            port: CheckPort::Traffic,
            interval_s: 10,
            timeout_s: 5,
            healthy_threshold,
            unhealthy_threshold,
        }
    }

    /// Probe results as `+` and `-`; health after each as `i`, `h`, `u`.
    #[test]
    fn health_follows_the_thresholds() {
        for (healthy, unhealthy, probes, expected) in [
            (5, 2, "+", "h"),
            (5, 2, "--", "iu"),
            (5, 2, "-+", "ih"),
            (5, 2, "+-", "hh"),
            (5, 2, "+--", "hhu"),
            (5, 2, "+-+-+--", "hhhhhhu"),
            (3, 2, "--+++", "iuuuh"),
            (3, 2, "--++-+++", "iuuuuuuh"),
            (2, 3, "+---++", "hhhuuh"),
        ] {
            let mut track = Track::default();
            let seen: String = probes
                .chars()
                .map(|probe| {
                    let result = match probe {
                        '+' => Ok(()),
                        _ => Err(ProbeFailure::Timeout),
                    };
                    track.observe(&check(healthy, unhealthy), result);
                    match track.health {
                        TargetHealth::Initial => 'i',
                        TargetHealth::Healthy => 'h',
                        _ => 'u',
                    }
                })
                .collect();
            assert_eq!(seen, expected, "{healthy}/{unhealthy} {probes}");
        }
    }

    #[test]
    fn the_reason_is_the_last_failure_and_goes_with_recovery() {
        let mut track = Track::default();
        track.observe(&check(2, 1), Err(ProbeFailure::Timeout));
        track.observe(&check(2, 1), Err(ProbeFailure::Status(503)));
        track.observe(&check(2, 1), Ok(()));
        assert_eq!(track.failure, Some(ProbeFailure::Status(503)));
        track.observe(&check(2, 1), Ok(()));
        assert_eq!(track.failure, None);
    }

    #[test]
    fn a_target_is_as_healthy_as_its_best_node_finds_it() {
        let mut state = TargetState::default();
        assert_eq!(state.health().0, TargetHealth::Initial);
        state.observe(1, &check(2, 1), Err(ProbeFailure::Refused));
        assert_eq!(
            state.health(),
            (TargetHealth::Unhealthy, Some(ProbeFailure::Refused))
        );
        state.observe(2, &check(2, 1), Ok(()));
        assert_eq!(state.health().0, TargetHealth::Healthy);
        state.retain(|&node| node == 1);
        assert_eq!(state.health().0, TargetHealth::Unhealthy);
    }
}
