//! Endpoint services: what a provider offers by PrivateLink.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vpclab_dataplane::tables::LoadBalancerKind;

use super::region::{check_region, zone_id};
use super::shape::{DONE, Done, Refused};
use super::vpc_endpoint::invalid;
use crate::api::{self, ApiError, ZONES};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter, Known, describe, each, one};
use crate::aws::tags::{self, TagItem, TagSpecification};
use crate::model::{
    AwsList, EndpointService, EndpointServiceId, LoadBalancerArn, Model, Tags, VpcEndpointType,
    hash,
};

calls! {
    Read: DescribeVpcEndpointServiceConfigurations DescribeVpcEndpointServices;
    Write: CreateVpcEndpointServiceConfiguration ModifyVpcEndpointServiceConfiguration
        DeleteVpcEndpointServiceConfigurations;
}

/// `CreateVpcEndpointServiceConfiguration`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateVpcEndpointServiceConfiguration {
    acceptance_required: Option<bool>,
    private_dns_name: Option<String>,
    network_load_balancer_arn: Vec<LoadBalancerArn>,
    gateway_load_balancer_arn: Vec<LoadBalancerArn>,
    supported_ip_address_type: Vec<String>,
    supported_region: Vec<String>,
    tag_specification: Vec<TagSpecification>,
}

/// A service, made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OneService {
    service_configuration: ServiceItem,
}

impl Call for CreateVpcEndpointServiceConfiguration {
    type Answer = OneService;

    fn call(self, at: &mut At<'_, '_>) -> Result<OneService, ApiError> {
        let tags = tags::specified(&self.tag_specification, "vpc-endpoint-service")?;
        check_regions(&self.supported_region)?;
        let made = at.run(api::CreateVpcEndpointServiceConfiguration {
            network_load_balancer_arns: self.network_load_balancer_arn,
            gateway_load_balancer_arns: self.gateway_load_balancer_arn,
            acceptance_required: self.acceptance_required.unwrap_or(true),
            private_dns_name: self.private_dns_name,
            supported_regions: self.supported_region,
            name: None,
        })?;
        tags::put(at, &made.service, tags);
        let service = at.tx.require(&made.service)?;
        check_address_types(&service, &self.supported_ip_address_type, at.model())?;
        Ok(OneService {
            service_configuration: ServiceItem::new(&service, at.model()),
        })
    }
}

fn check_regions(regions: &[String]) -> Result<(), ApiError> {
    regions.iter().try_for_each(|region| check_region(region))
}

/// Refuses an address type that a load balancer of the service has not.
fn check_address_types(
    service: &EndpointService,
    wanted: &[String],
    model: &Model,
) -> Result<(), ApiError> {
    let have = address_types(service, model);
    match wanted.iter().find(|wanted| !have.contains(&&***wanted)) {
        Some(other) => Err(invalid(format!(
            "The IP address type '{other}' is not supported by every load balancer of {}: {}",
            service.id,
            have.join(", ")
        ))),
        None => Ok(()),
    }
}

fn address_types(service: &EndpointService, model: &Model) -> Vec<&'static str> {
    let mut balancers = service
        .load_balancers
        .iter()
        .filter_map(|arn| model.get(arn));
    match balancers.all(|balancer| balancer.dualstack) {
        true => vec!["ipv4", "ipv6"],
        false => vec!["ipv4"],
    }
}

/// `ModifyVpcEndpointServiceConfiguration`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyVpcEndpointServiceConfiguration {
    service_id: EndpointServiceId,
    acceptance_required: Option<bool>,
    private_dns_name: Option<String>,
    remove_private_dns_name: Option<bool>,
    #[serde(default)]
    add_network_load_balancer_arn: Vec<LoadBalancerArn>,
    #[serde(default)]
    remove_network_load_balancer_arn: Vec<LoadBalancerArn>,
    #[serde(default)]
    add_gateway_load_balancer_arn: Vec<LoadBalancerArn>,
    #[serde(default)]
    remove_gateway_load_balancer_arn: Vec<LoadBalancerArn>,
    #[serde(default)]
    add_supported_region: Vec<String>,
    #[serde(default)]
    remove_supported_region: Vec<String>,
}

impl Call for ModifyVpcEndpointServiceConfiguration {
    type Answer = Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Done, ApiError> {
        check_regions(&self.add_supported_region)?;
        let mut add = self.add_network_load_balancer_arn;
        add.extend(self.add_gateway_load_balancer_arn);
        let mut remove = self.remove_network_load_balancer_arn;
        remove.extend(self.remove_gateway_load_balancer_arn);
        at.run(api::ModifyVpcEndpointServiceConfiguration {
            service: self.service_id,
            acceptance_required: self.acceptance_required,
            add_load_balancer_arns: add,
            remove_load_balancer_arns: remove,
            add_supported_regions: self.add_supported_region,
            remove_supported_regions: self.remove_supported_region,
            private_dns_name: self.private_dns_name,
            remove_private_dns_name: self.remove_private_dns_name.unwrap_or(false),
        })?;
        Ok(DONE)
    }
}

/// `DeleteVpcEndpointServiceConfigurations`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteVpcEndpointServiceConfigurations {
    service_id: Vec<EndpointServiceId>,
}

impl Call for DeleteVpcEndpointServiceConfigurations {
    type Answer = Refused;

    fn call(self, at: &mut At<'_, '_>) -> Result<Refused, ApiError> {
        let refused = at.run(api::DeleteVpcEndpointServiceConfigurations {
            services: self.service_id,
        })?;
        Ok(Refused::new(refused))
    }
}

describe! {
    /// `DescribeVpcEndpointServiceConfigurations`
    DescribeVpcEndpointServiceConfigurations { service_id: EndpointServiceId }
}

/// `DescribeVpcEndpointServiceConfigurations`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    service_configuration_set: Vec<ServiceItem>,
    next_token: Option<String>,
}

impl Call for DescribeVpcEndpointServiceConfigurations {
    type Answer = Services;

    fn call(self, at: &mut At<'_, '_>) -> Result<Services, ApiError> {
        let page = self.wanted().select(at, FILTERS)?;
        let item = |service: &Arc<EndpointService>| ServiceItem::new(service, at.model());
        Ok(Services {
            service_configuration_set: page.items.iter().map(item).collect(),
            next_token: page.next_token,
        })
    }
}

const FILTERS: &[Known<EndpointService>] = &[
    ("service-id", |it, _| one(&it.id)),
    ("service-name", |it, _| one(it.service_name())),
    ("service-state", |_, _| one("Available")),
    ("supported-ip-address-types", |it, model| {
        each(address_types(it, model))
    }),
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceType {
    service_type: &'static str,
}

fn service_type(service: &EndpointService) -> &'static str {
    match service.kind {
        LoadBalancerKind::Network => "Interface",
        LoadBalancerKind::Gateway => "GatewayLoadBalancer",
    }
}

/// The zones in which a load balancer of the service has a node.
///
/// Services of AWS's are in every zone.
fn zones(service: &EndpointService, model: &Model) -> BTreeSet<Arc<str>> {
    if service.aws.is_some() {
        let name = |letter: &u8| format!("{}{}", service.meta.region, char::from(*letter));
        return ZONES.iter().map(|letter| Arc::from(name(letter))).collect();
    }
    let balancers = service
        .load_balancers
        .iter()
        .filter_map(|arn| model.get(arn));
    let subnets = balancers.flat_map(|balancer| balancer.nodes.iter().map(|node| &node.subnet));
    subnets
        .filter_map(|subnet| model.get(subnet).map(|subnet| subnet.zone.clone()))
        .collect()
}

/// Names that every endpoint's begin from; network services only.
fn base_names(service: &EndpointService) -> Vec<String> {
    let label = service.aws.as_ref().map(|aws| &*aws.label);
    let label = label.unwrap_or(service.id.as_str());
    let name = || format!("{label}.{}.vpce.amazonaws.com", service.meta.region);
    let named = service.kind == LoadBalancerKind::Network;
    named.then(name).into_iter().collect()
}

/// A service as its provider sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceItem {
    service_id: EndpointServiceId,
    service_name: String,
    service_type: [ServiceType; 1],
    service_state: &'static str,
    availability_zone_set: BTreeSet<Arc<str>>,
    availability_zone_id_set: BTreeSet<String>,
    acceptance_required: bool,
    manages_vpc_endpoints: bool,
    network_load_balancer_arn_set: Vec<LoadBalancerArn>,
    gateway_load_balancer_arn_set: Vec<LoadBalancerArn>,
    supported_ip_address_type_set: Vec<&'static str>,
    supported_region_set: Vec<SupportedRegion>,
    remote_access_enabled: bool,
    base_endpoint_dns_name_set: Vec<String>,
    private_dns_name: Option<Arc<str>>,
    private_dns_name_configuration: Option<PrivateDnsConfiguration>,
    tag_set: Vec<TagItem>,
}

/// A region in which a service may have endpoints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SupportedRegion {
    region: Arc<str>,
    service_state: &'static str,
}

impl SupportedRegion {
    fn of(service: &EndpointService) -> Vec<Self> {
        let region = |region: &Arc<str>| Self {
            region: region.clone(),
            service_state: "Available",
        };
        service.regions().map(region).collect()
    }
}

/// How a private name is to be proved: a TXT record of the lab's public zones.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateDnsConfiguration {
    state: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
    name: String,
}

impl PrivateDnsConfiguration {
    fn new(service: &EndpointService) -> Option<Self> {
        let held = service.private_dns.as_ref()?;
        let (name, value) = service.verification();
        Some(Self {
            state: held.state.name(),
            kind: "TXT",
            value,
            name,
        })
    }
}

impl ServiceItem {
    fn new(service: &EndpointService, model: &Model) -> Self {
        let (network, gateway) = balancers(service);
        let zones = zones(service, model);
        Self {
            service_id: service.id.clone(),
            service_name: service.service_name(),
            service_type: [ServiceType {
                service_type: service_type(service),
            }],
            service_state: "Available",
            availability_zone_id_set: zones.iter().map(|zone| zone_id(zone)).collect(),
            availability_zone_set: zones,
            acceptance_required: service.acceptance_required,
            manages_vpc_endpoints: false,
            network_load_balancer_arn_set: network,
            gateway_load_balancer_arn_set: gateway,
            supported_ip_address_type_set: address_types(service, model),
            supported_region_set: SupportedRegion::of(service),
            remote_access_enabled: !service.supported_regions.is_empty(),
            base_endpoint_dns_name_set: base_names(service),
            private_dns_name: service.private_dns.as_ref().map(|held| held.name.clone()),
            private_dns_name_configuration: PrivateDnsConfiguration::new(service),
            tag_set: tags::items(&service.meta.all_tags()),
        }
    }
}

/// A service's network and gateway load balancers: one of the two is empty.
pub(super) fn balancers(service: &EndpointService) -> (Vec<LoadBalancerArn>, Vec<LoadBalancerArn>) {
    let all = service.load_balancers.clone();
    match service.kind {
        LoadBalancerKind::Network => (all, Vec::new()),
        LoadBalancerKind::Gateway => (Vec::new(), all),
    }
}

/// `DescribeVpcEndpointServices`: the caller's own, and those that let it in.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeVpcEndpointServices {
    service_name: Vec<String>,
    service_region: Vec<String>,
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// `DescribeVpcEndpointServices`' answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offers {
    service_name_set: Vec<String>,
    service_detail_set: Vec<Offer>,
    next_token: Option<String>,
}

impl Call for DescribeVpcEndpointServices {
    type Answer = Offers;

    fn call(self, at: &mut At<'_, '_>) -> Result<Offers, ApiError> {
        let names = [
            "owner",
            "service-name",
            "service-region",
            "service-type",
            "supported-ip-address-types",
        ];
        select::check(&self.filter, names.into_iter())?;
        check_regions(&self.service_region)?;
        let caller = at.caller();
        let services = at.model().endpoint_services().iter();
        let offered = services.filter(|service| {
            let region = &service.meta.region;
            let asked = match self.service_region.is_empty() {
                true => *region == caller.region,
                false => self.service_region.iter().any(|asked| **asked == **region),
            };
            asked && service.serves(&caller.region) && service.allows(&caller.account)
        });
        let offer = |service: &Arc<EndpointService>| Offer::new(service, at);
        let mut offers: Vec<Offer> = offered.map(offer).collect();
        if self.service_region.is_empty()
            || self.service_region.iter().any(|it| **it == *caller.region)
        {
            offers.extend(AwsList::in_region(&caller.region).map(Offer::of_aws));
        }
        for name in &self.service_name {
            if !offers.iter().any(|offer| offer.service_name == *name) {
                return Err(ApiError::new(
                    "InvalidServiceName",
                    format!("The Vpc Endpoint Service '{name}' does not exist"),
                ));
            }
        }
        offers.retain(|offer| {
            let wanted = &self.service_name;
            (wanted.is_empty() || wanted.contains(&offer.service_name))
                && self.filter.iter().all(|filter| offer.fits(filter))
        });
        // S3 and DynamoDB are offered in two ways.
        let key = |offer: &Offer| {
            let kind = offer.service_type[0].service_type;
            format!("{} {kind}", offer.service_name)
        };
        offers.sort_by_key(key);
        let page = select::page(offers.into_iter(), key, self.max_results, self.next_token)?;
        Ok(Offers {
            service_name_set: {
                let names = page.items.iter().map(|offer| offer.service_name.clone());
                let mut names: Vec<String> = names.collect();
                names.dedup();
                names
            },
            service_detail_set: page.items,
            next_token: page.next_token,
        })
    }
}

/// A service as its consumers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    service_name: String,
    service_id: EndpointServiceId,
    service_type: [ServiceType; 1],
    service_region: Arc<str>,
    availability_zone_set: BTreeSet<Arc<str>>,
    availability_zone_id_set: BTreeSet<String>,
    owner: Arc<str>,
    base_endpoint_dns_name_set: Vec<String>,
    private_dns_name: Option<Arc<str>>,
    private_dns_name_verification_state: Option<&'static str>,
    vpc_endpoint_policy_supported: bool,
    acceptance_required: bool,
    manages_vpc_endpoints: bool,
    supported_ip_address_type_set: Vec<&'static str>,
    tag_set: Vec<TagItem>,
    #[serde(skip)]
    tags: Tags,
}

impl Offer {
    fn new(service: &EndpointService, at: &At<'_, '_>) -> Self {
        let zones = zones(service, at.model());
        // Tags are their owner's.
        let own = service.meta.owner == at.caller().account;
        let tags = match own {
            true => service.meta.all_tags(),
            false => Tags::new(),
        };
        Self {
            service_name: service.service_name(),
            service_id: service.id.clone(),
            service_type: [ServiceType {
                service_type: service_type(service),
            }],
            service_region: service.meta.region.clone(),
            availability_zone_id_set: zones.iter().map(|zone| zone_id(zone)).collect(),
            availability_zone_set: zones,
            owner: service.meta.owner.clone(),
            base_endpoint_dns_name_set: base_names(service),
            private_dns_name: service.private_dns.as_ref().map(|held| held.name.clone()),
            private_dns_name_verification_state: service
                .private_dns
                .as_ref()
                .map(|held| held.state.name()),
            vpc_endpoint_policy_supported: service.aws.is_some(),
            acceptance_required: service.acceptance_required,
            manages_vpc_endpoints: false,
            supported_ip_address_type_set: address_types(service, at.model()),
            tag_set: tags::items(&tags),
            tags,
        }
    }

    /// S3 and DynamoDB, by gateway endpoints.
    fn of_aws(list: &'static AwsList) -> Self {
        Self {
            service_name: list.name(),
            service_id: EndpointServiceId::from(format!("vpce-svc-{:017x}", hash(0, &list.name()))),
            service_type: [ServiceType {
                service_type: VpcEndpointType::Gateway.name(),
            }],
            service_region: Arc::from(list.region),
            availability_zone_id_set: BTreeSet::new(),
            availability_zone_set: BTreeSet::new(),
            owner: Arc::from("amazon"),
            base_endpoint_dns_name_set: vec![format!(
                "{}.{}.amazonaws.com",
                list.service, list.region
            )],
            private_dns_name: None,
            private_dns_name_verification_state: None,
            vpc_endpoint_policy_supported: true,
            acceptance_required: false,
            manages_vpc_endpoints: false,
            supported_ip_address_type_set: vec!["ipv4"],
            tag_set: Vec::new(),
            tags: Tags::new(),
        }
    }

    fn fits(&self, filter: &Filter) -> bool {
        let values = match &*filter.name {
            "owner" => one(&self.owner),
            "service-name" => one(&self.service_name),
            "service-region" => one(&self.service_region),
            "service-type" => one(self.service_type[0].service_type),
            "supported-ip-address-types" => each(&self.supported_ip_address_type_set),
            "tag-key" => each(self.tags.keys()),
            "tag-value" => each(self.tags.values()),
            other => {
                let key = other.strip_prefix("tag:").unwrap_or_default();
                each(self.tags.get(key))
            }
        };
        values.iter().any(|value| filter.fits(value))
    }
}
