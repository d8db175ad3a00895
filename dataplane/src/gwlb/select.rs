//! Choosing a target: healthy ones of the zone, or of all zones with
//! cross-zone load balancing; all of them when none is healthy (fail-open).
//!
//! AWS: NLB and GWLB "Target groups", "Health checks". How AWS hashes is
//! unpublished. ASSUMPTION: rendezvous hashing, so that a target that comes or
//! goes moves only its own share of new flows.

use super::target::{Target, TargetHealth};
use crate::addr::AzId;
use crate::flow::Seed;

/// Whether a node in zone `az` may use `target` at all.
pub fn usable(target: &Target, az: AzId, cross_zone: bool) -> bool {
    cross_zone || target.az.is_none_or(|zone| zone == az)
}

/// Index of the target for a flow with this hash, or `None` if the zone has none.
pub fn choose(
    targets: &[Target],
    az: AzId,
    cross_zone: bool,
    seed: Seed,
    flow: u64,
) -> Option<usize> {
    let best = |takes: fn(TargetHealth) -> bool| {
        // By hand: each first packet asks all targets.
        let (mut best, mut most) = (None, 0);
        for (index, target) in targets.iter().enumerate() {
            if takes(target.health) && usable(target, az, cross_zone) {
                let score = seed.score(target.address, target.port, flow);
                if score >= most {
                    (best, most) = (Some(index), score);
                }
            }
        }
        best
    };
    best(|health| health == TargetHealth::Healthy)
        .or_else(|| best(|health| !matches!(health, TargetHealth::Draining | TargetHealth::Unused)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(last: u8, az: u16, health: TargetHealth) -> Target {
        let address = std::net::IpAddr::from([10, 0, 0, last]);
        Target {
            address,
            port: 80,
            az: Some(AzId(az)),
            health,
            failures: 0,
        }
    }

    fn share(targets: &[Target], az: u16, cross: bool) -> Vec<usize> {
        let mut hits = vec![0; targets.len()];
        for flow in 0..3000 {
            if let Some(i) = choose(targets, AzId(az), cross, Seed(1), Seed(2).words(&[flow])) {
                hits[i] += 1;
            }
        }
        hits
    }

    #[test]
    fn healthy_targets_of_the_zone_share_the_flows() {
        use TargetHealth::{Draining, Healthy, Unhealthy};
        let targets = [
            target(1, 0, Healthy),
            target(2, 0, Healthy),
            target(3, 0, Unhealthy),
            target(4, 1, Healthy),
            target(5, 0, Draining),
        ];
        let here = share(&targets, 0, false);
        assert!(
            here[0] > 1300 && here[1] > 1300 && here[2..] == [0, 0, 0],
            "{here:?}"
        );
        let cross = share(&targets, 0, true);
        assert!(cross[3] > 800 && cross[2] == 0, "{cross:?}");
        assert_eq!(share(&targets, 7, false), [0; 5]);
    }

    #[test]
    fn with_no_healthy_target_all_are_used() {
        let targets = [
            target(1, 0, TargetHealth::Unhealthy),
            target(2, 0, TargetHealth::Initial),
        ];
        assert!(share(&targets, 0, false).iter().all(|&n| n > 1300));
    }

    #[test]
    fn a_leaving_target_moves_only_its_own_flows() {
        let all: Vec<_> = (1..=4)
            .map(|n| target(n, 0, TargetHealth::Healthy))
            .collect();
        let fewer = &all[..3];
        for flow in 0..1000 {
            let hash = Seed(9).words(&[flow]);
            let before = choose(&all, AzId(0), false, Seed(1), hash).unwrap();
            let after = choose(fewer, AzId(0), false, Seed(1), hash).unwrap();
            assert!(before == 3 || before == after);
        }
    }
}
