//! AWS's published addresses (ip-ranges.json), in place of those that vpclab knows.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::addr::Prefix;

use super::AwsList;
use super::aws_list::BUILT_IN;
use super::hash;

/// Where AWS publishes it.
pub const PUBLISHED: &str = "https://ip-ranges.amazonaws.com/ip-ranges.json";

/// The blocks of services that have prefix lists, as published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpRanges {
    /// By region, then service (`s3`, `dynamodb`).
    pub lists: BTreeMap<String, BTreeMap<String, Vec<Prefix>>>,
}

#[derive(Deserialize)]
struct File {
    prefixes: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    ip_prefix: String,
    region: String,
    service: String,
}

impl IpRanges {
    /// What a file of AWS's form says of S3 and DynamoDB.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text)
            .map_err(|error| format!("is not of the form of {PUBLISHED}: {error}"))?;
        let mut ranges = Self::default();
        for entry in file.prefixes {
            let service = match entry.service.as_str() {
                "S3" => "s3",
                "DYNAMODB" => "dynamodb",
                _ => continue,
            };
            // Some are of no region: GLOBAL.
            if !entry.region.contains('-') {
                continue;
            }
            let block: Option<Prefix> = entry
                .ip_prefix
                .parse()
                .ok()
                .filter(|block: &Prefix| block.is_ipv4());
            let block = block.ok_or_else(|| {
                format!(
                    "has '{}' among the prefixes of {} in {}, which is no IPv4 block",
                    entry.ip_prefix, entry.service, entry.region
                )
            })?;
            let region = ranges.lists.entry(entry.region).or_default();
            let blocks = region.entry(service.to_owned()).or_default();
            if !blocks.contains(&block) {
                blocks.push(block);
            }
        }
        match ranges.lists.is_empty() {
            true => Err(format!(
                "has no prefixes of S3 or DYNAMODB; AWS's file is at {PUBLISHED}"
            )),
            false => Ok(ranges),
        }
    }

    /// The lists, with AWS's ids where vpclab knows them; others follow from region
    /// and service. They live as long as the process, as the built-in ones do.
    pub(super) fn lists(&self) -> &'static [AwsList] {
        let all = self.lists.iter().flat_map(|(region, services)| {
            services.iter().map(move |(service, blocks)| {
                let known = BUILT_IN
                    .iter()
                    .find(|list| list.region == region && list.service == service);
                let blocks = blocks.iter().map(|block| leaked(block.to_string()));
                AwsList {
                    region: leaked(region.clone()),
                    service: leaked(service.clone()),
                    id: known.map_or_else(
                        || {
                            let number = hash(0, &format!("{region}/{service}")) as u32;
                            leaked(format!("pl-{number:08x}"))
                        },
                        |known| known.id,
                    ),
                    blocks: Vec::leak(blocks.collect()),
                }
            })
        });
        Vec::leak(all.collect())
    }

    /// From now on these are AWS's lists in this process. To be said once, before
    /// anybody asks; false if it was said before.
    pub fn install(&self) -> bool {
        INSTALLED.set(self.lists()).is_ok()
    }
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

static INSTALLED: OnceLock<&'static [AwsList]> = OnceLock::new();

/// AWS's lists: those of a file, if there was one, else those that vpclab knows.
pub(super) fn all() -> &'static [AwsList] {
    INSTALLED.get().copied().unwrap_or(BUILT_IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"syncToken": "1", "createDate": "2026-08-22-00-00-00",
        "prefixes": [
            {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "AMAZON", "network_border_group": "ap-northeast-2"},
            {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "S3", "network_border_group": "ap-northeast-2"},
            {"ip_prefix": "3.5.140.0/22", "region": "ap-northeast-2", "service": "S3", "network_border_group": "ap-northeast-2"},
            {"ip_prefix": "52.216.0.0/15", "region": "us-east-1", "service": "S3", "network_border_group": "us-east-1"},
            {"ip_prefix": "52.94.0.0/22", "region": "us-east-1", "service": "DYNAMODB", "network_border_group": "us-east-1"},
            {"ip_prefix": "120.52.22.96/27", "region": "GLOBAL", "service": "S3", "network_border_group": "GLOBAL"}
        ],
        "ipv6_prefixes": [
            {"ipv6_prefix": "2a05:d07a:a000::/40", "region": "eu-south-1", "service": "S3", "network_border_group": "eu-south-1"}
        ]}"#;

    #[test]
    fn lists_are_by_region_and_service_and_keep_known_ids() {
        let ranges = IpRanges::parse(FILE).unwrap();
        let lists = ranges.lists();
        let told: Vec<_> = lists
            .iter()
            .map(|list| (list.region, list.service, list.resource().entries.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("ap-northeast-2", "s3", 1),
                ("us-east-1", "dynamodb", 1),
                ("us-east-1", "s3", 1)
            ]
        );
        let built_in = |service| {
            let mut all = BUILT_IN.iter();
            all.find(|list| list.region == "us-east-1" && list.service == service)
        };
        assert_eq!(lists[2].id, built_in("s3").unwrap().id);
        assert!(lists[0].id.starts_with("pl-") && lists[0].id.len() == 11);
        assert_eq!(lists[0].id, ranges.lists()[0].id);
        let kept = serde_json::to_string(&ranges).unwrap();
        assert_eq!(serde_json::from_str::<IpRanges>(&kept).unwrap(), ranges);
    }

    #[test]
    fn another_file_is_refused_with_the_place_of_the_right_one() {
        for (text, said) in [
            ("", "is not of the form"),
            ("[]", "is not of the form"),
            (r#"{"prefixes": [{"region": "us-east-1"}]}"#, "ip_prefix"),
            (r#"{"prefixes": []}"#, "no prefixes of S3"),
            (
                &FILE.replace("52.216.0.0/15", "52.216.0.0/55"),
                "52.216.0.0/55",
            ),
        ] {
            let why = IpRanges::parse(text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }
}
