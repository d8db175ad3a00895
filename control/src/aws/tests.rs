//! Requests as clients send them, answered without HTTP.

use std::sync::{Arc, MutexGuard};

use axum::body::to_bytes;
use axum::http::{HeaderMap, header};

use super::alone::Alone;
use super::*;
use crate::api::{ControlPlane, DEFAULT_ACCOUNT};
use crate::topology::export::export;
use crate::topology::{Names, Topology};

/// An API and what is behind it.
pub(crate) struct Client {
    api: Api,
    backend: Arc<Alone>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let backend = Arc::new(Alone::default());
        Self {
            api: Api::new(Arc::clone(&backend) as Arc<dyn Backend>),
            backend,
        }
    }

    /// The control plane behind it.
    pub(crate) fn control(&self) -> MutexGuard<'_, ControlPlane> {
        self.backend.control()
    }

    /// All that there is: what a topology file can say, and every id.
    pub(crate) fn state(&self) -> String {
        let control = self.control();
        let model = control.model();
        let file = Topology::parse("lab.yaml", "name: lab\n").unwrap();
        let exported = export(model, &file, &Names::default(), DEFAULT_ACCOUNT);
        let ids = model.ids();
        format!(
            "{}\n{:?}\n{ids:?}\nversion {}",
            exported.topology,
            exported.left_out,
            control.tables().load().version
        )
    }

    /// Sends a form to a service; status and body.
    pub(crate) fn send(&self, service: &str, form: &str) -> (u16, String) {
        self.send_as("AKIA", service, form)
    }

    /// The same, with an access key.
    pub(crate) fn send_as(&self, key: &str, service: &str, form: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20261125/us-east-1/{service}/aws4_request, Signature=0"
        );
        headers.insert(header::AUTHORIZATION, scope.parse().unwrap());
        let response = self.api.answer(&Asked::post(&headers, form.as_bytes()));
        let status = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime
            .block_on(to_bytes(response.into_body(), 1 << 24))
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The answer of an EC2 action that goes well.
    #[track_caller]
    pub(crate) fn ec2(&self, form: &str) -> String {
        let (status, body) = self.send("ec2", &format!("Version=2016-11-15&{form}"));
        assert_eq!(status, 200, "{form}: {body}");
        body
    }

    /// A VPC and a subnet in it.
    pub(crate) fn vpc_and_subnet(&self) -> (String, String) {
        let vpc = self.ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16");
        let vpc = text(&vpc, "vpcId");
        let subnet = self.ec2(&format!(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24"
        ));
        (vpc, text(&subnet, "subnetId"))
    }

    /// The error code of one that is refused.
    #[track_caller]
    pub(crate) fn refused(&self, form: &str) -> String {
        let (status, body) = self.send("ec2", &format!("Version=2016-11-15&{form}"));
        assert!((400..500).contains(&status), "{form}: {status} {body}");
        text(&body, "Code")
    }
}

/// The text of the first element with this name.
#[track_caller]
pub(crate) fn text(body: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let start = body
        .find(&open)
        .unwrap_or_else(|| panic!("no {element} in {body}"))
        + open.len();
    let end = body[start..].find(&close).unwrap();
    body[start..start + end].to_owned()
}

#[test]
fn a_vpc_is_made_described_and_deleted() {
    let client = Client::new();
    let made = client.ec2(
        "Action=CreateVpc&CidrBlock=10.0.0.0/16&TagSpecification.1.ResourceType=vpc\
         &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=a%26b",
    );
    assert!(
        made.contains("<CreateVpcResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">")
    );
    assert!(
        made.contains("<key>Name</key><value>a&amp;b</value>"),
        "{made}"
    );
    let id = text(&made, "vpcId");
    let found = client.ec2("Action=DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1=a*");
    assert_eq!(text(&found, "vpcId"), id);
    let none = client.ec2("Action=DescribeVpcs&Filter.1.Name=tag:Name&Filter.1.Value.1=b*");
    assert!(none.contains("<vpcSet></vpcSet>"), "{none}");
    client.ec2(&format!("Action=DeleteVpc&VpcId={id}"));
    assert_eq!(
        client.refused(&format!("Action=DescribeVpcs&VpcId.1={id}")),
        "InvalidVpcID.NotFound"
    );
}

#[test]
fn what_cannot_be_answered_is_refused_with_awss_codes() {
    let client = Client::new();
    for (form, code) in [
        ("Action=CreateVcp", "InvalidAction"),
        ("Action=CreateTransitGateway", "UnsupportedOperation"),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&Ipv4IpamPoolId=x",
            "UnsupportedOperation",
        ),
        ("Action=CreateVpc&CidrBlok=10.0.0.0/16", "UnknownParameter"),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0",
            "InvalidParameterValue",
        ),
        ("Action=CreateVpc", "MissingParameter"),
        ("Action=DeleteVpc", "MissingParameter"),
        ("Action=DeleteVpc&VpcId=vpc-nope", "InvalidVpcID.Malformed"),
        (
            "Action=DescribeVpcs&Filter.1.Name=nope&Filter.1.Value.1=x",
            "InvalidParameterValue",
        ),
        (
            "Action=CreateVpc&CidrBlock=10.0.0.0/16&DryRun=true",
            "DryRunOperation",
        ),
        ("", "MissingAction"),
    ] {
        assert_eq!(client.refused(form), code, "{form}");
    }
    let (status, body) = client.send("s3", "Action=ListBuckets");
    assert_eq!(
        (status, text(&body, "Code")),
        (400, "UnsupportedOperation".into())
    );
    assert!(
        !client.ec2("Action=DescribeVpcs").contains("<item>"),
        "a dry run makes nothing"
    );
}

#[test]
fn a_client_token_makes_nothing_twice() {
    let client = Client::new();
    let (_, subnet) = client.vpc_and_subnet();
    let run = format!("Action=RunInstances&ImageId=ami-1&MinCount=1&MaxCount=1&SubnetId={subnet}");
    let first = client.ec2(&format!("{run}&ClientToken=t"));
    let again = client.ec2(&format!("{run}&ClientToken=t"));
    assert_eq!(text(&first, "instanceId"), text(&again, "instanceId"));
    assert_ne!(
        text(&client.ec2(&run), "instanceId"),
        text(&first, "instanceId")
    );
    let other = client.refused(&format!("{run}&InstanceType=t3.nano&ClientToken=t"));
    assert_eq!(other, "IdempotentParameterMismatch");
    // A call that was answered from memory changes no host.
    assert_eq!(client.backend.rewired(), 2);
}

#[test]
fn a_client_token_is_kept_with_what_it_made() {
    let client = Client::new();
    let vpc = text(
        &client.ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16"),
        "vpcId",
    );
    let run = format!("Action=CreateRouteTable&VpcId={vpc}&ClientToken=t");
    let first = text(&client.ec2(&run), "routeTableId");
    // Another daemon, of the same state.
    let again = Client::new();
    let model = client.backend.control().model().clone();
    again.backend.control().edit(|restored| {
        for id in model.ids() {
            if let Some(kept) = model.stored(&id) {
                restored.put_stored(id.kind, &kept).unwrap();
            }
        }
    });
    assert_eq!(text(&again.ec2(&run), "routeTableId"), first);
    let other = format!("{run}&TagSpecification.1.ResourceType=route-table");
    assert_eq!(again.refused(&other), "IdempotentParameterMismatch");
    // Nobody sees the record.
    let token = model.client_tokens().iter().next().unwrap().id.to_string();
    let tag = format!("Action=CreateTags&ResourceId.1={token}&Tag.1.Key=a&Tag.1.Value=b");
    assert_eq!(again.refused(&tag), "InvalidID");
    assert!(!again.ec2("Action=DescribeTags").contains("token-"));
}

#[test]
fn what_has_no_host_is_not_there() {
    let client = Client::new();
    let (_, subnet) = client.vpc_and_subnet();
    let run = format!(
        "Action=RunInstances&ImageId=ami-1&MinCount=2&MaxCount=2&SubnetId={subnet}&ClientToken=t"
    );
    let before = client.backend.control().model().clone();
    client.backend.set_full(true);
    let (status, body) = client.send("ec2", &run);
    assert_eq!(
        (status, &*text(&body, "Code")),
        (500, "InsufficientInstanceCapacity")
    );
    assert!(body.contains("too many open files"), "{body}");
    let after = client.backend.control().model().clone();
    assert_eq!(before.differences(&after), Default::default());
    assert_eq!(client.backend.control().inconsistency(), None);
    // The token is free again, and so are the addresses.
    client.backend.set_full(false);
    let made = client.ec2(&run);
    assert_eq!(text(&made, "privateIpAddress"), "10.0.0.4");
    // One that cannot end stays what it was.
    let instance = text(&made, "instanceId");
    client.backend.set_full(true);
    let end = format!("Action=TerminateInstances&InstanceId.1={instance}");
    assert_eq!(client.send("ec2", &end).0, 500);
    client.backend.set_full(false);
    let found = client.ec2("Action=DescribeInstances");
    assert!(!found.contains("terminated"), "{found}");
}

#[test]
fn what_was_built_on_is_not_taken_back() {
    let mut control = crate::api::ControlPlane::default();
    let before = control.model().clone();
    let vpc = crate::api::testing::vpc(&mut control);
    let after = control.model().clone();
    crate::api::testing::subnet(&mut control, &vpc, "10.0.0.0/24");
    assert!(control.undo(&before, &after).is_err());
    assert_eq!(control.model().subnets().len(), 2);
    assert_eq!(control.inconsistency(), None);
}

#[test]
fn sts_answers_in_its_own_dialect() {
    let client = Client::new();
    let (status, body) = client.send("sts", "Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(status, 200);
    assert_eq!(text(&body, "Account"), "123456789012");
    assert!(body.contains("<GetCallerIdentityResult>"), "{body}");
    let (status, body) = client.send("sts", "Action=AssumeRole&Version=2011-06-15");
    assert_eq!(status, 400);
    assert!(
        body.contains("<ErrorResponse") && body.contains("<Type>Sender</Type>"),
        "{body}"
    );
}

#[test]
fn another_region_is_another_world() {
    let client = Client::new();
    client.ec2("Action=CreateVpc&CidrBlock=10.0.0.0/16");
    let mut headers = HeaderMap::new();
    let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261125/eu-west-1/ec2/aws4_request, Signature=0";
    headers.insert(header::AUTHORIZATION, scope.parse().unwrap());
    let response = client
        .api
        .answer(&Asked::post(&headers, b"Action=DescribeVpcs"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let body = runtime
        .block_on(to_bytes(response.into_body(), 1 << 20))
        .unwrap();
    assert!(!String::from_utf8_lossy(&body).contains("vpc-"));
}

#[test]
fn filters_with_an_index_find_what_a_search_finds() {
    let client = Client::new();
    for vpc_block in ["10.0.0.0/16", "10.1.0.0/16"] {
        let vpc = client.ec2(&format!("Action=CreateVpc&CidrBlock={vpc_block}"));
        let vpc = text(&vpc, "vpcId");
        let block = vpc_block.replace("0.0/16", "0.0/24");
        let subnet = client.ec2(&format!(
            "Action=CreateSubnet&VpcId={vpc}&CidrBlock={block}"
        ));
        let subnet = text(&subnet, "subnetId");
        for _ in 0..3 {
            client.ec2(&format!("Action=CreateNetworkInterface&SubnetId={subnet}"));
        }
    }
    let interfaces = client.ec2("Action=DescribeNetworkInterfaces");
    for (action, filter, element) in [
        ("DescribeNetworkInterfaces", "vpc-id", "vpcId"),
        ("DescribeNetworkInterfaces", "subnet-id", "subnetId"),
        ("DescribeNetworkInterfaces", "group-id", "groupId"),
        (
            "DescribeNetworkInterfaces",
            "network-interface-id",
            "networkInterfaceId",
        ),
        (
            "DescribeNetworkInterfaces",
            "private-ip-address",
            "privateIpAddress",
        ),
        ("DescribeSubnets", "vpc-id", "vpcId"),
        ("DescribeRouteTables", "vpc-id", "vpcId"),
        ("DescribeNetworkAcls", "vpc-id", "vpcId"),
        ("DescribeSecurityGroups", "vpc-id", "vpcId"),
        ("DescribeSecurityGroups", "group-id", "groupId"),
    ] {
        let value = text(&interfaces, element);
        let with = |value: &str| {
            let found = client.ec2(&format!(
                "Action={action}&Filter.1.Name={filter}&Filter.1.Value.1={value}"
            ));
            let start = found.find("</requestId>").unwrap();
            found[start..].to_owned()
        };
        // A wildcard takes the index away.
        let searched = with(&format!("{value}*"));
        assert!(searched.contains("<item>"), "{action} {filter}");
        assert_eq!(with(&value), searched, "{action} {filter}");
        assert!(!with("nothing").contains("<item>"), "{action} {filter}");
    }
}

#[test]
fn with_credentials_only_the_signed_are_answered() {
    let file = "[a]\naws_access_key_id = AKIA\naws_secret_access_key = s\n";
    let credentials = Credentials::parse("file", file).unwrap();
    let api = Api::new(Arc::new(Alone::with(credentials)));
    let code = |headers: &HeaderMap, version: &str| {
        let form = format!("Action=DescribeVpcs&Version={version}");
        let response = api.answer(&Asked::post(headers, form.as_bytes()));
        let status = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime.block_on(to_bytes(response.into_body(), 1 << 20));
        let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
        (status, text(&body, "Code"))
    };
    let unsigned = code(&HeaderMap::new(), "2016-11-15");
    assert_eq!(unsigned, (403, "MissingAuthenticationToken".to_owned()));
    let signed = |key: &str, service: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20231114T221320Z".parse().unwrap());
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20231114/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=00"
        );
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    };
    for (key, service, refused) in [
        ("AKIA", "ec2", (401, "AuthFailure")),
        ("NOBODY", "ec2", (401, "AuthFailure")),
        ("AKIA", "sts", (403, "SignatureDoesNotMatch")),
        (
            "NOBODY",
            "elasticloadbalancing",
            (403, "InvalidClientTokenId"),
        ),
    ] {
        let found = code(&signed(key, service), "2016-11-15");
        assert_eq!((found.0, &*found.1), refused, "{key} {service}");
    }
}
