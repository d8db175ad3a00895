//! What AWS's own models know: every action, and the parameters of those that
//! have to do with networks. So a misspelt parameter is told from one that
//! vpclab does not honour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A service's actions and the wire names of their parameters.
#[derive(Debug)]
pub struct Known {
    actions: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// EC2.
pub static EC2: LazyLock<Known> =
    LazyLock::new(|| Known::parse(include_str!("parameters/ec2.txt")));
/// Elastic Load Balancing, version 2.
pub static ELBV2: LazyLock<Known> =
    LazyLock::new(|| Known::parse(include_str!("parameters/elbv2.txt")));
/// Security Token Service.
pub static STS: LazyLock<Known> =
    LazyLock::new(|| Known::parse(include_str!("parameters/sts.txt")));

impl Known {
    fn parse(text: &'static str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let action = |line: &'static str| {
            let mut words = line.split(' ');
            (words.next().unwrap_or_default(), words.collect())
        };
        Self {
            actions: lines.map(action).collect(),
        }
    }

    /// Whether AWS has this action.
    pub fn has_action(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// Whether AWS's action has this parameter; list numbers in `path` are left
    /// out of account.
    pub fn has_parameter(&self, action: &str, path: &str) -> bool {
        let is_name = |part: &&str| *part != "member" && part.parse::<u32>().is_err();
        let path: Vec<&str> = path.split('.').filter(is_name).collect();
        let known = self.actions.get(action);
        known.is_some_and(|known| known.contains(path.join(".").as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_parameters_are_known_by_their_wire_names() {
        assert!(EC2.has_action("CreateVpc") && EC2.has_action("GetConsoleOutput"));
        assert!(!EC2.has_action("CreateVcp"));
        assert!(EC2.has_parameter("DescribeVpcs", "Filter.1.Value.2"));
        assert!(EC2.has_parameter("RunInstances", "NetworkInterface.1.SecurityGroupId"));
        assert!(!EC2.has_parameter("DescribeVpcs", "Filters.1.Name"));
        assert!(ELBV2.has_parameter("CreateListener", "DefaultActions.member.1.TargetGroupArn"));
        assert!(STS.has_action("GetCallerIdentity"));
    }
}
