//! Who may connect to an endpoint service, and who is connected.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::endpoint_service::balancers;
use super::shape::{Refused, time};
use super::vpc_endpoint::{DnsEntry, address_type};
use crate::api::{self, ApiError};
use crate::aws::call::{At, Call, calls};
use crate::aws::select::{self, Filter};
use crate::aws::tags::TagItem;
use crate::model::{
    EndpointService, EndpointServiceId, LoadBalancerArn, Model, VpcEndpoint, VpcEndpointId, hash,
};

calls! {
    Read: DescribeVpcEndpointServicePermissions DescribeVpcEndpointConnections;
    Write: ModifyVpcEndpointServicePermissions AcceptVpcEndpointConnections
        RejectVpcEndpointConnections StartVpcEndpointServicePrivateDnsVerification;
}

/// `ModifyVpcEndpointServicePermissions`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModifyVpcEndpointServicePermissions {
    service_id: EndpointServiceId,
    #[serde(default)]
    add_allowed_principals: Vec<String>,
    #[serde(default)]
    remove_allowed_principals: Vec<String>,
}

/// Who may connect from now on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Added {
    added_principal_set: Vec<PrincipalItem>,
    #[serde(rename = "return")]
    done: bool,
}

impl Call for ModifyVpcEndpointServicePermissions {
    type Answer = Added;

    fn call(self, at: &mut At<'_, '_>) -> Result<Added, ApiError> {
        let before = at.tx.require(&self.service_id)?;
        at.run(api::ModifyVpcEndpointServicePermissions {
            service: self.service_id.clone(),
            add_allowed_principals: self.add_allowed_principals,
            remove_allowed_principals: self.remove_allowed_principals,
        })?;
        let after = at.tx.require(&self.service_id)?;
        let added = after.principals.difference(&before.principals);
        Ok(Added {
            added_principal_set: added.map(|it| PrincipalItem::new(&after, it)).collect(),
            done: true,
        })
    }
}

/// `DescribeVpcEndpointServicePermissions`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeVpcEndpointServicePermissions {
    service_id: EndpointServiceId,
    #[serde(default)]
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// Who may connect.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    allowed_principals: Vec<PrincipalItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrincipalItem {
    principal: Arc<str>,
    principal_type: &'static str,
    service_permission_id: String,
    service_id: EndpointServiceId,
    tag_set: [TagItem; 0],
}

impl PrincipalItem {
    fn new(service: &EndpointService, principal: &Arc<str>) -> Self {
        let resource = principal.splitn(6, ':').nth(5).unwrap_or_default();
        let number = hash(hash(0, service.id.as_str()), principal);
        Self {
            principal: principal.clone(),
            principal_type: match resource.split('/').next() {
                _ if **principal == *"*" => "All",
                Some("user") => "User",
                Some("role" | "assumed-role") => "Role",
                _ => "Account",
            },
            service_permission_id: format!("vpce-svc-perm-0{number:016x}"),
            service_id: service.id.clone(),
            tag_set: [],
        }
    }
}

impl Call for DescribeVpcEndpointServicePermissions {
    type Answer = Permissions;

    fn call(self, at: &mut At<'_, '_>) -> Result<Permissions, ApiError> {
        select::check(&self.filter, ["principal", "principal-type"].into_iter())?;
        let service = at.tx.require(&self.service_id)?;
        let all = service.principals.iter();
        let items = all.map(|principal| PrincipalItem::new(&service, principal));
        let wanted = items.filter(|item| {
            select::all_match(&self.filter, |name| match name {
                "principal" => Some(item.principal.to_string()),
                "principal-type" => Some(item.principal_type.to_owned()),
                _ => None,
            })
        });
        let page = select::page(
            wanted,
            |item| item.principal.to_string(),
            self.max_results,
            self.next_token,
        )?;
        Ok(Permissions {
            allowed_principals: page.items,
            next_token: page.next_token,
        })
    }
}

/// `DescribeVpcEndpointConnections`: endpoints of the caller's services.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DescribeVpcEndpointConnections {
    filter: Vec<Filter>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

/// Who is connected, or wants to be.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    vpc_endpoint_connection_set: Vec<ConnectionItem>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionItem {
    service_id: EndpointServiceId,
    vpc_endpoint_id: VpcEndpointId,
    vpc_endpoint_owner: Arc<str>,
    vpc_endpoint_state: &'static str,
    vpc_endpoint_region: Arc<str>,
    vpc_endpoint_connection_id: String,
    creation_timestamp: String,
    dns_entry_set: Vec<DnsEntry>,
    network_load_balancer_arn_set: Vec<LoadBalancerArn>,
    gateway_load_balancer_arn_set: Vec<LoadBalancerArn>,
    ip_address_type: &'static str,
    tag_set: [TagItem; 0],
}

impl ConnectionItem {
    fn new(endpoint: &VpcEndpoint, service: &EndpointService, model: &Model) -> Self {
        let (network, gateway) = balancers(service);
        let number = hash(0, endpoint.id.as_str());
        Self {
            service_id: service.id.clone(),
            vpc_endpoint_id: endpoint.id.clone(),
            vpc_endpoint_owner: endpoint.meta.owner.clone(),
            vpc_endpoint_state: endpoint.state.name(),
            vpc_endpoint_region: endpoint.meta.region.clone(),
            vpc_endpoint_connection_id: format!("vpce-con-0{number:016x}"),
            creation_timestamp: time(endpoint.meta.created_s),
            dns_entry_set: DnsEntry::all(endpoint, model),
            network_load_balancer_arn_set: network,
            gateway_load_balancer_arn_set: gateway,
            ip_address_type: address_type(endpoint),
            tag_set: [],
        }
    }

    fn value(&self, filter: &str) -> Option<String> {
        Some(match filter {
            "service-id" => self.service_id.to_string(),
            "vpc-endpoint-id" => self.vpc_endpoint_id.to_string(),
            "vpc-endpoint-owner" => self.vpc_endpoint_owner.to_string(),
            "vpc-endpoint-state" => self.vpc_endpoint_state.to_owned(),
            "vpc-endpoint-region" => self.vpc_endpoint_region.to_string(),
            "ip-address-type" => self.ip_address_type.to_owned(),
            _ => return None,
        })
    }
}

impl Call for DescribeVpcEndpointConnections {
    type Answer = Connections;

    fn call(self, at: &mut At<'_, '_>) -> Result<Connections, ApiError> {
        let names = [
            "ip-address-type",
            "service-id",
            "vpc-endpoint-id",
            "vpc-endpoint-owner",
            "vpc-endpoint-region",
            "vpc-endpoint-state",
        ];
        select::check(&self.filter, names.into_iter())?;
        let (model, caller) = (at.model(), at.caller());
        let all = model.vpc_endpoints().iter().filter_map(|endpoint| {
            let service = model.get(&endpoint.service)?;
            let meta = &service.meta;
            let own = meta.owner == caller.account && meta.region == caller.region;
            own.then(|| ConnectionItem::new(endpoint, service, model))
        });
        let wanted = all.filter(|item| select::all_match(&self.filter, |name| item.value(name)));
        let page = select::page(
            wanted,
            |item| item.vpc_endpoint_id.to_string(),
            self.max_results,
            self.next_token,
        )?;
        Ok(Connections {
            vpc_endpoint_connection_set: page.items,
            next_token: page.next_token,
        })
    }
}

/// `AcceptVpcEndpointConnections`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AcceptVpcEndpointConnections {
    service_id: EndpointServiceId,
    vpc_endpoint_id: Vec<VpcEndpointId>,
}

impl Call for AcceptVpcEndpointConnections {
    type Answer = Refused;

    fn call(self, at: &mut At<'_, '_>) -> Result<Refused, ApiError> {
        let refused = at.run(api::AcceptVpcEndpointConnections {
            service: self.service_id,
            vpc_endpoints: self.vpc_endpoint_id,
        })?;
        Ok(Refused::new(refused))
    }
}

/// `RejectVpcEndpointConnections`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RejectVpcEndpointConnections {
    service_id: EndpointServiceId,
    vpc_endpoint_id: Vec<VpcEndpointId>,
}

impl Call for RejectVpcEndpointConnections {
    type Answer = Refused;

    fn call(self, at: &mut At<'_, '_>) -> Result<Refused, ApiError> {
        let refused = at.run(api::RejectVpcEndpointConnections {
            service: self.service_id,
            vpc_endpoints: self.vpc_endpoint_id,
        })?;
        Ok(Refused::new(refused))
    }
}

/// `StartVpcEndpointServicePrivateDnsVerification`: the lab's public zones are
/// asked at once.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartVpcEndpointServicePrivateDnsVerification {
    service_id: EndpointServiceId,
}

impl Call for StartVpcEndpointServicePrivateDnsVerification {
    type Answer = super::shape::Done;

    fn call(self, at: &mut At<'_, '_>) -> Result<Self::Answer, ApiError> {
        at.run(api::StartVpcEndpointServicePrivateDnsVerification {
            service: self.service_id,
        })?;
        Ok(super::shape::DONE)
    }
}
