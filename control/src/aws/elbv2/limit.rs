//! How much of everything an account may have.

use serde::{Deserialize, Serialize};

use crate::api::ApiError;
use crate::aws::call::{At, Call, calls};
use crate::quotas::Quota;

calls! {
    Read: DescribeAccountLimits;
}

/// `DescribeAccountLimits`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeAccountLimits {
    /// Accepted: no page is full.
    marker: Option<String>,
    /// Accepted: no page is full.
    page_size: Option<u32>,
}

/// The limits in force.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Limits {
    limits: Vec<Limit>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    name: &'static str,
    max: String,
}

impl Call for DescribeAccountLimits {
    type Answer = Limits;

    fn call(self, at: &mut At<'_, '_>) -> Result<Limits, ApiError> {
        let limits = [
            (
                "network-load-balancers",
                Quota::NetworkLoadBalancersPerRegion,
            ),
            (
                "gateway-load-balancers",
                Quota::GatewayLoadBalancersPerRegion,
            ),
            ("target-groups", Quota::TargetGroupsPerRegion),
            (
                "listeners-per-network-load-balancer",
                Quota::ListenersPerNetworkLoadBalancer,
            ),
            (
                "targets-per-availability-zone-per-network-load-balancer",
                Quota::TargetsPerZonePerNetworkLoadBalancer,
            ),
            (
                "targets-per-availability-zone-per-gateway-load-balancer",
                Quota::TargetsPerGatewayTargetGroup,
            ),
        ];
        let limit = |(name, quota)| Limit {
            name,
            max: at.tx.quotas().value(quota).to_string(),
        };
        Ok(Limits {
            limits: limits.into_iter().map(limit).collect(),
        })
    }
}
