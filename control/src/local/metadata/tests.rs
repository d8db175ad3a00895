//! Requests and what they get.

use vpclab_dataplane::time::{Duration, Instant};

use super::*;
use crate::local::testing::{self, LAB};

const NOW: Instant = Instant::from_nanos(1);

/// Status and body.
fn send_at(now: Instant, host: &str, request: &str) -> (u16, String) {
    let lab = LAB.control();
    let bytes = format!("{request}\r\n\r\n");
    let reply = testing::ask(&lab, host, |asker| answer(asker, now, 7, bytes.as_bytes()));
    assert_eq!(reply.taken, bytes.len());
    assert!(reply.close);
    let put = request.starts_with("PUT");
    assert_eq!(reply.hop_limit, put.then_some(1));
    let text = String::from_utf8(reply.bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn send(request: &str) -> (u16, String) {
    send_at(NOW, "a", request)
}

fn read(path: &str) -> String {
    let (status, body) = send(&format!("GET /latest/meta-data/{path} HTTP/1.1\r\nHost: x"));
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[test]
fn an_instance_reads_about_itself() {
    let lab = LAB.control();
    let a = testing::interface(&lab, "a");
    assert_eq!(read("local-ipv4"), "10.0.1.10");
    assert_eq!(read("public-ipv4"), "203.0.113.10");
    assert_eq!(read("mac"), a.mac.to_string());
    assert_eq!(read("placement/availability-zone"), "us-east-1a");
    assert_eq!(read("placement/"), "availability-zone\nregion");
    assert_eq!(
        read("public-hostname"),
        "ec2-203-0-113-10.compute-1.amazonaws.com"
    );
    assert_eq!(read("network/interfaces/macs/"), format!("{}/", a.mac));
    let card = format!("network/interfaces/macs/{}", a.mac);
    assert_eq!(read(&format!("{card}/interface-id")), a.id.as_str());
    assert_eq!(
        read(&format!("{card}/subnet-ipv4-cidr-block")),
        "10.0.1.0/24"
    );
    assert_eq!(
        read(&format!("{card}/ipv4-associations/203.0.113.10")),
        "10.0.1.10"
    );
    let id = read("instance-id");
    assert!(id.starts_with("i-") && id.len() == 19, "{id}");
    let top = read("");
    for name in ["instance-id", "network/", "placement/", "hostname"] {
        assert!(top.lines().any(|line| line == name), "{name}: {top}");
    }
    let (status, text) = send("GET /latest/dynamic/instance-identity/document HTTP/1.1");
    assert_eq!(status, 200);
    assert!(text.contains("\"privateIp\": \"10.0.1.10\""), "{text}");
}

#[test]
fn what_is_not_there_is_404() {
    for path in [
        "/latest/meta-data/iam",
        "/latest/meta-data/iam/security-credentials/",
        "/latest/user-data",
        "/latest/meta-data/local-ipv4/more",
        "/latest/meta-data/net",
        "/nonsense",
    ] {
        assert_eq!(send(&format!("GET {path} HTTP/1.1")).0, 404, "{path}");
    }
}

#[test]
fn tokens_are_given_and_asked_for() {
    let put = "PUT /latest/api/token HTTP/1.1";
    let (status, token) = send(&format!(
        "{put}\r\nX-aws-ec2-metadata-token-ttl-seconds: 60"
    ));
    assert_eq!(status, 200);
    let get = format!("GET /latest/meta-data/mac HTTP/1.1\r\nX-aws-ec2-metadata-token: {token}");
    assert_eq!(send(&get).0, 200);
    let late = NOW + Duration::from_secs(61);
    assert_eq!(send_at(late, "a", &get).0, 401);
    assert_eq!(send_at(NOW, "b", &get).0, 401, "another host's");
    for (bad, status) in [
        (put.to_owned(), 400),
        (
            format!("{put}\r\nX-aws-ec2-metadata-token-ttl-seconds: 21601"),
            400,
        ),
        (
            format!("{put}\r\nX-aws-ec2-metadata-token-ttl-seconds: 0"),
            400,
        ),
        (
            format!(
                "{put}\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: 10.0.0.9"
            ),
            403,
        ),
        ("POST / HTTP/1.1".to_owned(), 405),
        ("GET nowhere HTTP/1.1".to_owned(), 400),
        ("GET / HTTP/1.1\r\nno colon".to_owned(), 400),
    ] {
        assert_eq!(send(&bad).0, status, "{bad}");
    }
}

#[test]
fn half_a_request_waits_for_the_rest() {
    let lab = LAB.control();
    let whole = b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    for len in 0..=whole.len() {
        let reply = testing::ask(&lab, "a", |asker| answer(asker, NOW, 7, &whole[..len]));
        assert_eq!(reply.close, len == whole.len(), "{len}");
    }
}
