//! What the resolver says, message by message.

use hickory_proto::op::{Edns, Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

use super::Resolver;
use crate::api::{
    AcceptVpcPeeringConnection, ControlPlane, CreateVpcPeeringConnection,
    DeleteVpcPeeringConnection, ModifyVpcPeeringConnectionOptions,
};
use crate::local::testing::{self, LAB};

fn ask_with(control: &ControlPlane, host: &str, query: &Message) -> Option<Message> {
    let bytes = query.to_vec().unwrap();
    let answer = testing::ask(control, host, |asker| {
        Resolver::default().answer_datagram(asker, &bytes)
    });
    Some(Message::from_vec(&answer?.0).unwrap())
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    query
}

/// The answer's code and records, in words.
fn ask(control: &ControlPlane, host: &str, name: &str, kind: RecordType) -> String {
    let query = question(name, kind);
    let answer = ask_with(control, host, &query).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.queries, query.queries);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    let records = answer.answers.iter().map(|record| match &record.data {
        RData::A(a) => a.0.to_string(),
        other => other.to_string(),
    });
    let mut words = vec![answer.metadata.response_code.to_string()];
    words.extend(records);
    words.join(" ")
}

#[test]
fn names_of_interfaces_are_found_both_ways() {
    let lab = LAB.control();
    let private = "ip-10-0-1-10.ec2.internal.";
    for (host, name, kind, answer) in [
        ("a", private, RecordType::A, "No Error 10.0.1.10"),
        (
            "a",
            "IP-10-0-1-10.EC2.Internal.",
            RecordType::A,
            "No Error 10.0.1.10",
        ),
        ("a", private, RecordType::AAAA, "No Error"),
        ("a", "ec2.internal.", RecordType::A, "No Error"),
        (
            "a",
            "ip-10-0-1-11.ec2.internal.",
            RecordType::A,
            "Non-Existent Domain",
        ),
        (
            "a",
            "ip-10.0.1.10.ec2.internal.",
            RecordType::A,
            "Non-Existent Domain",
        ),
        (
            "a",
            "notec2.internal.",
            RecordType::A,
            "Non-Existent Domain",
        ),
        ("a", "example.com.", RecordType::A, "Non-Existent Domain"),
        ("a", ".", RecordType::NS, "Non-Existent Domain"),
        // Another VPC's interfaces are not seen.
        ("b", private, RecordType::A, "Non-Existent Domain"),
        (
            "a",
            "10.1.0.10.in-addr.arpa.",
            RecordType::PTR,
            "No Error ip-10-0-1-10.ec2.internal.",
        ),
        (
            "a",
            "11.1.0.10.in-addr.arpa.",
            RecordType::PTR,
            "Non-Existent Domain",
        ),
        (
            "b",
            "10.113.0.203.in-addr.arpa.",
            RecordType::PTR,
            "No Error ec2-203-0-113-10.compute-1.amazonaws.com.",
        ),
    ] {
        assert_eq!(ask(&lab, host, name, kind), answer, "{host} {name} {kind}");
    }
}

#[test]
fn a_public_name_is_private_inside_and_public_outside() {
    let lab = LAB.control();
    let name = "ec2-203-0-113-10.compute-1.amazonaws.com.";
    assert_eq!(ask(&lab, "a", name, RecordType::A), "No Error 10.0.1.10");
    assert_eq!(ask(&lab, "b", name, RecordType::A), "No Error 203.0.113.10");
    let nobody = "ec2-203-0-113-11.compute-1.amazonaws.com.";
    assert_eq!(ask(&lab, "a", nobody, RecordType::A), "Non-Existent Domain");
}

#[test]
fn a_peer_that_may_is_told_the_private_address_of_a_public_name() {
    let mut lab = LAB.control();
    let vpc_of = |lab: &ControlPlane, host| testing::interface(lab, host).vpc.clone();
    let ask_for = CreateVpcPeeringConnection {
        vpc: vpc_of(&lab, "b"),
        peer_vpc: vpc_of(&lab, "a"),
        ..CreateVpcPeeringConnection::default()
    };
    let peering = lab.execute(ask_for).unwrap();
    let accept = AcceptVpcPeeringConnection {
        peering: peering.clone(),
    };
    lab.execute(accept).unwrap();
    let seen = |lab: &ControlPlane| {
        let name = "ec2-203-0-113-10.compute-1.amazonaws.com.";
        ask(lab, "b", name, RecordType::A)
    };
    assert_eq!(seen(&lab), "No Error 203.0.113.10");
    // It is the other VPC that lets them.
    let allow = ModifyVpcPeeringConnectionOptions {
        peering: peering.clone(),
        accepter_dns_resolution: Some(true),
        ..ModifyVpcPeeringConnectionOptions::default()
    };
    lab.execute(allow).unwrap();
    assert_eq!(seen(&lab), "No Error 10.0.1.10");
    lab.execute(DeleteVpcPeeringConnection { peering }).unwrap();
    assert_eq!(seen(&lab), "No Error 203.0.113.10");
}

#[test]
fn odd_queries_get_the_codes_that_they_should() {
    let lab = LAB.control();
    let code = |query: &Message| ask_with(&lab, "a", query).unwrap().metadata.response_code;
    let plain = question("ip-10-0-1-10.ec2.internal.", RecordType::A);

    let mut query = plain.clone();
    query.metadata.op_code = OpCode::Update;
    assert_eq!(code(&query), ResponseCode::NotImp);

    let mut query = plain.clone();
    query.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&query), ResponseCode::Refused);

    let mut query = plain.clone();
    query.queries.clear();
    assert_eq!(code(&query), ResponseCode::FormErr);

    let mut query = plain.clone();
    let mut edns = Edns::new();
    edns.set_version(1);
    query.set_edns(edns);
    let answer = ask_with(&lab, "a", &query).unwrap();
    assert_eq!(answer.edns.unwrap().rcode_high(), 1, "BADVERS is 16");

    // What is an answer itself is not answered, nor what is no message.
    let answer = ask_with(&lab, "a", &plain).unwrap();
    assert_eq!(ask_with(&lab, "a", &answer), None);
}

#[test]
fn whatever_comes_is_no_harm() {
    let lab = LAB.control();
    let whole = question("ip-10-0-1-10.ec2.internal.", RecordType::A);
    let whole = whole.to_vec().unwrap();
    let mut resolver = Resolver::default();
    for len in 0..whole.len() {
        let answer = testing::ask(&lab, "a", |asker| {
            resolver.answer_datagram(asker, &whole[..len])
        });
        assert_eq!(answer.is_some(), len >= 12, "{len}");
    }
    for at in 12..whole.len() {
        let mut bad = whole.clone();
        bad[at] = 0xff;
        let answer = testing::ask(&lab, "a", |asker| resolver.answer_datagram(asker, &bad));
        let (answer, _) = answer.unwrap();
        assert_eq!(answer[..2], whole[..2], "{at}");
    }
}
