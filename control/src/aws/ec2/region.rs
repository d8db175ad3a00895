//! Regions, zones and an account's attributes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Caller, ZONES, default_vpc};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter};
use crate::quotas::Quota;

calls! {
    Read: DescribeRegions DescribeAvailabilityZones DescribeAccountAttributes;
}

/// AWS's commercial regions and the letters by which their zones' ids begin
/// (`use1-az1` is us-east-1's).
const REGIONS: &[(&str, &str)] = &[
    ("af-south-1", "afs1"),
    ("ap-east-1", "ape1"),
    ("ap-northeast-1", "apne1"),
    ("ap-northeast-2", "apne2"),
    ("ap-northeast-3", "apne3"),
    ("ap-south-1", "aps1"),
    ("ap-southeast-1", "apse1"),
    ("ap-southeast-2", "apse2"),
    ("ca-central-1", "cac1"),
    ("eu-central-1", "euc1"),
    ("eu-north-1", "eun1"),
    ("eu-south-1", "eus1"),
    ("eu-west-1", "euw1"),
    ("eu-west-2", "euw2"),
    ("eu-west-3", "euw3"),
    ("me-south-1", "mes1"),
    ("sa-east-1", "sae1"),
    ("us-east-1", "use1"),
    ("us-east-2", "use2"),
    ("us-west-1", "usw1"),
    ("us-west-2", "usw2"),
];

/// A zone's id (`use1-az1`). AWS shuffles them for each account; here the first
/// zone is the first id in all of them.
pub(super) fn zone_id(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let number = letter
        .bytes()
        .next()
        .map_or(0, |letter| letter.wrapping_sub(b'a') + 1);
    format!("{}-az{number}", short(region))
}

/// The zone with this id, in the caller's region.
pub(super) fn zone_of_id(caller: &Caller, id: &str) -> Result<String, ApiError> {
    let region = &*caller.region;
    let number = id.strip_prefix(&format!("{}-az", short(region)));
    let number = number.and_then(|number| number.parse::<u8>().ok());
    match number.filter(|number| (1..=26).contains(number)) {
        Some(number) => Ok(format!("{region}{}", char::from(b'a' + number - 1))),
        None => Err(ApiError::invalid_value(format!(
            "Value ({id}) for parameter availabilityZoneId is invalid; zones of {region} are \
             {}-az1, {}-az2 and so on",
            short(region),
            short(region)
        ))),
    }
}

/// Refuses what is no region.
pub(super) fn check_region(region: &str) -> Result<(), ApiError> {
    match REGIONS.iter().any(|(known, _)| *known == region) {
        true => Ok(()),
        false => Err(ApiError::invalid_value(format!(
            "Invalid region name: '{region}'"
        ))),
    }
}

fn short(region: &str) -> &str {
    let known = REGIONS.iter().find(|(name, _)| *name == region);
    known.map_or(region, |(_, short)| short)
}

/// `DescribeRegions`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeRegions {
    region_name: Vec<String>,
    filter: Vec<Filter>,
    /// Accepted: every region is there without opting in.
    all_regions: bool,
}

/// `DescribeRegions`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Regions {
    region_info: Vec<RegionItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionItem {
    region_name: String,
    region_endpoint: String,
    opt_in_status: &'static str,
}

impl Call for DescribeRegions {
    type Answer = Regions;

    fn call(self, _at: &mut At<'_, '_>) -> Result<Regions, ApiError> {
        let is_known = |name: &str| REGIONS.iter().any(|(known, _)| *known == name);
        if let Some(unknown) = self.region_name.iter().find(|name| !is_known(name)) {
            return Err(ApiError::invalid_value(format!(
                "Invalid region name: '{unknown}'"
            )));
        }
        let values = |region: &RegionItem, filter: &str| {
            Some(match filter {
                "region-name" => region.region_name.clone(),
                "endpoint" => region.region_endpoint.clone(),
                "opt-in-status" => region.opt_in_status.to_owned(),
                _ => return None,
            })
        };
        let names = ["region-name", "endpoint", "opt-in-status"];
        select::check(&self.filter, names.into_iter())?;
        let wanted = |name: &str| {
            self.region_name.is_empty() || self.region_name.iter().any(|it| it == name)
        };
        let regions = REGIONS.iter().filter(|(name, _)| wanted(name));
        let items = regions.map(|(name, _)| RegionItem {
            region_name: (*name).to_owned(),
            region_endpoint: format!("ec2.{name}.amazonaws.com"),
            opt_in_status: "opt-in-not-required",
        });
        Ok(Regions {
            region_info: items
                .filter(|item| select::all_match(&self.filter, |name| values(item, name)))
                .collect(),
        })
    }
}

/// `DescribeAvailabilityZones`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeAvailabilityZones {
    zone_name: Vec<String>,
    zone_id: Vec<String>,
    filter: Vec<Filter>,
    /// Accepted: there are no other zones to opt into.
    all_availability_zones: bool,
}

/// `DescribeAvailabilityZones`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Zones {
    availability_zone_info: Vec<ZoneItem>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ZoneItem {
    zone_name: String,
    zone_id: String,
    zone_state: &'static str,
    zone_type: &'static str,
    region_name: Arc<str>,
    group_name: Arc<str>,
    network_border_group: Arc<str>,
    opt_in_status: &'static str,
    message_set: Vec<String>,
}

const ZONE_FILTERS: [&str; 8] = [
    "zone-name",
    "zone-id",
    "region-name",
    "state",
    "zone-state",
    "zone-type",
    "opt-in-status",
    "group-name",
];

impl Call for DescribeAvailabilityZones {
    type Answer = Zones;

    fn call(self, at: &mut At<'_, '_>) -> Result<Zones, ApiError> {
        select::check(&self.filter, ZONE_FILTERS.into_iter())?;
        let region = at.caller().region.clone();
        let item = |letter: &u8| {
            let zone_name = format!("{region}{}", char::from(*letter));
            ZoneItem {
                zone_id: zone_id(&zone_name),
                zone_state: match at.model().is_zone_down(&zone_name) {
                    true => "impaired",
                    false => "available",
                },
                zone_name,
                zone_type: "availability-zone",
                region_name: region.clone(),
                group_name: region.clone(),
                network_border_group: region.clone(),
                opt_in_status: "opt-in-not-required",
                message_set: Vec::new(),
            }
        };
        let all: Vec<ZoneItem> = ZONES.iter().map(item).collect();
        for (given, names) in [(&self.zone_name, true), (&self.zone_id, false)] {
            let is_known = |it: &&String| {
                all.iter().any(|zone| {
                    **it == if names {
                        &zone.zone_name
                    } else {
                        &zone.zone_id
                    }[..]
                })
            };
            if let Some(unknown) = given.iter().find(|it| !is_known(it)) {
                return Err(ApiError::invalid_value(format!(
                    "Invalid availability zone: [{unknown}]"
                )));
            }
        }
        let value = |zone: &ZoneItem, filter: &str| {
            Some(match filter {
                "zone-name" => zone.zone_name.clone(),
                "zone-id" => zone.zone_id.clone(),
                "region-name" | "group-name" => zone.region_name.to_string(),
                "state" | "zone-state" => zone.zone_state.to_owned(),
                "zone-type" => zone.zone_type.to_owned(),
                "opt-in-status" => zone.opt_in_status.to_owned(),
                _ => return None,
            })
        };
        let given = |given: &[String], name: &String| given.is_empty() || given.contains(name);
        let fits = |zone: &ZoneItem| {
            given(&self.zone_name, &zone.zone_name)
                && given(&self.zone_id, &zone.zone_id)
                && select::all_match(&self.filter, |name| value(zone, name))
        };
        Ok(Zones {
            availability_zone_info: all.into_iter().filter(fits).collect(),
        })
    }
}

/// `DescribeAccountAttributes`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeAccountAttributes {
    attribute_name: Vec<String>,
}

/// `DescribeAccountAttributes`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountAttributes {
    account_attribute_set: Vec<AccountAttribute>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountAttribute {
    attribute_name: &'static str,
    attribute_value_set: Vec<AccountAttributeValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountAttributeValue {
    attribute_value: String,
}

impl Call for DescribeAccountAttributes {
    type Answer = AccountAttributes;

    fn call(self, at: &mut At<'_, '_>) -> Result<AccountAttributes, ApiError> {
        let default = default_vpc(at.tx);
        let elastic = at.tx.quotas().value(Quota::ElasticIpsPerRegion).to_string();
        let groups = at
            .tx
            .quotas()
            .value(Quota::SecurityGroupsPerInterface)
            .to_string();
        let all = [
            ("supported-platforms", "VPC".to_owned()),
            (
                "default-vpc",
                default.map_or("none".to_owned(), |vpc| vpc.to_string()),
            ),
            ("max-instances", "20".to_owned()),
            ("max-elastic-ips", elastic.clone()),
            ("vpc-max-elastic-ips", elastic),
            ("vpc-max-security-groups-per-interface", groups),
        ];
        let wanted = |name: &str| {
            self.attribute_name.is_empty() || self.attribute_name.iter().any(|it| it == name)
        };
        if let Some(unknown) = (self.attribute_name.iter())
            .find(|name| !all.iter().any(|(known, _)| *known == name.as_str()))
        {
            return Err(ApiError::invalid_value(format!(
                "Value ({unknown}) for parameter attributeName is invalid"
            )));
        }
        let item = |(name, value)| AccountAttribute {
            attribute_name: name,
            attribute_value_set: vec![AccountAttributeValue {
                attribute_value: value,
            }],
        };
        Ok(AccountAttributes {
            account_attribute_set: all
                .into_iter()
                .filter(|(name, _)| wanted(name))
                .map(item)
                .collect(),
        })
    }
}
