//! Services of AWS's that the lab has something for. No AWS action: at AWS they are
//! there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use vpclab_dataplane::tables::LoadBalancerKind;

use super::internet_host;
use super::{Action, ApiError, Transaction};
use crate::model::*;

/// Puts a service of AWS's into the lab: on the internet, and for endpoints of
/// types Interface and (S3, DynamoDB) Gateway.
#[derive(Clone, Debug, Default)]
pub struct CreateAwsService {
    /// `com.amazonaws.us-east-1.sqs`, or `sqs`.
    pub name: String,
}

impl Action for CreateAwsService {
    type Output = EndpointServiceId;

    fn apply(self, tx: &mut Transaction<'_>) -> Result<EndpointServiceId, ApiError> {
        let region = tx.caller().region.clone();
        let short = aws_service_name(&region, &self.name).map_err(ApiError::invalid_value)?;
        let name = format!("com.amazonaws.{region}.{short}");
        if tx.model().indexes().alias(&name).is_some() {
            return Err(ApiError::invalid_value(format!(
                "The service '{name}' is there already"
            )));
        }
        let names = public_names(&region, short);
        let host = names.first().cloned().unwrap_or_default();
        let address = public_address(tx, &region, short)
            .ok_or_else(|| ApiError::invalid_value(format!("No address is left for '{name}'")))?;
        internet_host::check_address(tx, address)?;
        let interface = internet_host::put(tx, &host, vec![address]);
        plug(tx, &interface, &host);
        let id: EndpointServiceId = tx.mint();
        let mut meta = tx.meta(Some(short));
        meta.owner = Arc::from(AWS_SERVICE_OWNER);
        tx.put(EndpointService {
            id: id.clone(),
            meta,
            kind: LoadBalancerKind::Network,
            load_balancers: Vec::new(),
            acceptance_required: false,
            principals: BTreeSet::from([Arc::from("*")]),
            private_dns: Some(PrivateDns {
                name: host,
                state: PrivateDnsState::Verified,
            }),
            supported_regions: BTreeSet::new(),
            aws: Some(AwsService {
                name: Arc::from(name),
                label: Arc::from(label(short)),
                names,
                interface,
            }),
        });
        Ok(id)
    }
}

/// The service in `com.amazonaws.REGION.SERVICE`, or in its short form.
///
/// # Errors
/// In words, with what to write.
pub fn aws_service_name<'a>(region: &str, name: &'a str) -> Result<&'a str, String> {
    let short = match name.strip_prefix("com.amazonaws.") {
        None => name,
        Some(rest) => rest
            .strip_prefix(region)
            .and_then(|rest| rest.strip_prefix('.'))
            .ok_or_else(|| {
                format!(
                    "'{name}' is not of this region; write com.amazonaws.{region}.SERVICE, or \
                     SERVICE alone"
                )
            })?,
    };
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    match short.split('.').all(part) && !short.starts_with("vpce.") {
        true => Ok(short),
        false => Err(format!(
            "'{name}' is no service of AWS's; write a name such as s3, sqs or secretsmanager"
        )),
    }
}

/// Where a service takes what comes through a gateway endpoint: on the internet,
/// without an address of its own.
pub(super) fn port(
    tx: &mut Transaction<'_>,
    endpoint: &VpcEndpointId,
    service: &EndpointService,
) -> NetworkInterfaceId {
    let id = internet_host::put(tx, endpoint.as_str(), Vec::new());
    let own = service.aws.as_ref().and_then(|aws| aws.names.first());
    let host = own.cloned().unwrap_or_default();
    plug(tx, &id, &host);
    tx.update(&id, |interface| interface.source_dest_check = false);
    id
}

/// An interface of the service that has this name in public.
fn plug(tx: &mut Transaction<'_>, id: &NetworkInterfaceId, host: &Arc<str>) {
    tx.update(id, |interface| {
        interface.description = host.clone();
        if let Some(attachment) = &mut interface.attachment {
            attachment.plug = Plug::Service;
        }
    });
}

/// `ecr.api` is called `api.ecr` in names.
fn label(short: &str) -> String {
    let mut parts: Vec<&str> = short.split('.').collect();
    parts.reverse();
    parts.join(".")
}

/// Services that have names below their own: buckets, APIs, repositories.
const WITH_NAMES_BELOW: [&str; 4] = ["s3", "execute-api", "ecr.dkr", "elasticfilesystem"];

fn public_names(region: &str, short: &str) -> Vec<Arc<str>> {
    let domain = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    let label = label(short);
    let mut names = vec![format!("{label}.{region}.{domain}")];
    // S3's first region has its old name, too.
    if (region, short) == ("us-east-1", "s3") {
        names.push(format!("{label}.{domain}"));
    }
    if WITH_NAMES_BELOW.contains(&short) {
        let below: Vec<_> = names.iter().map(|name| format!("*.{name}")).collect();
        names.extend(below);
    }
    names.into_iter().map(Arc::from).collect()
}

/// Free ones from here on are for services without published addresses
/// (TEST-NET-1, RFC 5737).
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 129);
const COUNT: u64 = 126;

/// An address that nobody has: of the service's list, if it has one.
fn public_address(tx: &Transaction<'_>, region: &str, short: &str) -> Option<IpAddr> {
    let free = |address: &IpAddr| tx.model().indexes().public_owner(*address).is_none();
    let list = AwsList::of(region, short).map(AwsList::resource);
    let mut listed = list.iter().flat_map(|list| list.entries.keys());
    if let Some(address) = listed.find_map(|block| block.nth(1).filter(free)) {
        return Some(address);
    }
    // Always the same for one service, whichever others there are.
    let start = hash(0, short);
    let mut all = (0..COUNT).map(|n| {
        let at = u32::from(FIRST) + ((start.wrapping_add(n)) % COUNT) as u32;
        IpAddr::V4(Ipv4Addr::from(at))
    });
    all.find(free)
}

#[cfg(test)]
#[path = "aws_service_tests.rs"]
mod tests;
