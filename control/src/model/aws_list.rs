//! AWS's own prefix lists: the public ranges of S3 and DynamoDB by region.
//!
//! Facts from AWS's published ip-ranges.json of 2026-08-22. Regions that are not
//! here have no lists, unless a file says so (`ip_ranges`).

use std::sync::Arc;

use super::ip_ranges::all;
use super::{AddressFamily, Meta, PrefixList, PrefixListId, Tags};

/// Who owns AWS's lists.
pub const AWS_OWNER: &str = "AWS";

/// A list of AWS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsList {
    /// Region.
    pub region: &'static str,
    /// `s3` or `dynamodb`.
    pub service: &'static str,
    /// `pl-…`
    pub id: &'static str,
    pub(super) blocks: &'static [&'static str],
}

impl AwsList {
    /// The list of a service in a region.
    pub fn of(region: &str, service: &str) -> Option<&'static Self> {
        let mut all = all().iter();
        all.find(|list| list.region == region && list.service == service)
    }

    /// The list with this id.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        all().iter().find(|list| list.id == id)
    }

    /// All lists of a region.
    pub fn in_region(region: &str) -> impl Iterator<Item = &'static Self> {
        all().iter().filter(move |list| list.region == region)
    }

    /// `com.amazonaws.us-east-1.s3`
    pub fn name(&self) -> String {
        format!("com.amazonaws.{}.{}", self.region, self.service)
    }

    /// As the model holds it. It counts as one entry in quotas
    /// (V:working-with-aws-managed-prefix-lists).
    pub fn resource(&self) -> PrefixList {
        let blocks = self.blocks.iter().filter_map(|block| block.parse().ok());
        PrefixList {
            id: PrefixListId::from(self.id),
            meta: Meta {
                owner: Arc::from(AWS_OWNER),
                region: Arc::from(self.region),
                name: None,
                tags: Tags::new(),
                created_s: 0,
            },
            list_name: Arc::from(self.name()),
            family: AddressFamily::Ipv4,
            max_entries: 1,
            version: 1,
            entries: blocks.map(|block| (block, Arc::default())).collect(),
        }
    }
}

macro_rules! lists {
    ($($region:literal $service:literal $id:literal: $($block:literal)*;)*) => {
        pub(super) const BUILT_IN: &[AwsList] = &[$(AwsList {
            region: $region,
            service: $service,
            id: $id,
            blocks: &[$($block),*],
        },)*];
    };
}

lists! {
    "us-east-1" "s3" "pl-63a5400a":
        "1.178.4.0/24" "1.178.5.0/24" "1.178.6.0/24" "3.2.64.0/24" "3.2.65.0/24" "3.2.74.0/24"
        "3.5.0.0/19" "16.15.156.0/22" "16.15.160.0/22" "16.15.164.0/22" "16.15.168.0/22"
        "16.15.172.0/22" "16.15.176.0/20" "16.15.192.0/18" "16.182.0.0/16" "18.34.0.0/19"
        "18.34.232.0/21" "44.192.134.240/28" "44.192.140.64/28" "52.216.0.0/15" "54.231.0.0/16";
    "us-east-1" "dynamodb" "pl-02cd2c6b":
        "3.218.180.0/22" "35.71.68.0/22" "35.71.76.0/22" "52.94.0.0/22" "52.119.224.0/21"
        "52.119.232.0/21";
    "us-east-2" "s3" "pl-7ba54012":
        "1.178.8.0/24" "3.2.67.0/24" "3.5.88.0/22" "3.5.92.0/23" "3.5.100.0/22" "3.5.104.0/22"
        "3.5.108.0/22" "3.5.128.0/22" "3.5.132.0/23" "3.141.102.208/28" "3.141.102.224/28"
        "16.12.60.0/22" "16.12.64.0/22" "18.34.72.0/21" "18.34.252.0/22" "52.219.80.0/20"
        "52.219.96.0/20" "52.219.141.0/24" "52.219.142.0/24" "52.219.143.0/24" "52.219.176.0/22"
        "52.219.212.0/22" "52.219.224.0/22" "52.219.228.0/22" "52.219.232.0/22";
    "us-east-2" "dynamodb" "pl-4ca54025":
        "35.71.102.0/24" "52.94.4.0/24";
    "us-west-2" "s3" "pl-68a54001":
        "1.178.9.0/24" "1.178.65.0/24" "3.2.68.0/24" "3.5.76.0/22" "3.5.80.0/21" "16.12.88.0/21"
        "16.12.96.0/21" "16.12.104.0/21" "16.12.112.0/21" "16.15.32.0/20" "18.34.48.0/20"
        "18.34.244.0/22" "35.80.36.208/28" "35.80.36.224/28" "52.92.128.0/17" "52.218.128.0/17";
    "us-west-2" "dynamodb" "pl-00a54069":
        "35.71.64.0/22" "52.94.10.0/24" "52.94.28.0/23" "52.119.252.0/22";
    "eu-west-1" "s3" "pl-6da54004":
        "1.178.7.0/24" "3.2.79.0/24" "3.5.64.0/21" "3.5.72.0/23" "3.5.74.0/23" "3.5.94.0/23"
        "3.5.96.0/23" "3.5.98.0/23" "3.251.110.208/28" "3.251.110.224/28" "52.92.0.0/17"
        "52.218.0.0/17";
    "eu-west-1" "dynamodb" "pl-6fa54006":
        "35.71.72.0/22" "52.94.5.0/24" "52.94.24.0/23" "52.94.26.0/23" "52.119.240.0/21";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_one_and_no_two_lists_share_an_id() {
        for list in BUILT_IN {
            assert_eq!(list.resource().entries.len(), list.blocks.len(), "{list:?}");
            assert_eq!(AwsList::by_id(list.id), Some(list));
            assert_eq!(AwsList::of(list.region, list.service), Some(list));
        }
    }
}
