//! Requests through the proxy to an upstream of the test's.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::model::{Id, Through, VpcEndpointId, VpcId};

fn client() -> Client {
    let endpoint = VpcEndpointId::from_text("vpce-0a".into());
    Client {
        through: Through {
            service: Arc::from("com.amazonaws.us-east-1.sqs"),
            endpoint: Some((endpoint, VpcId::from_text("vpc-0b".into()))),
        },
        address: "10.0.1.10".parse().unwrap(),
    }
}

fn proxy(upstream: Upstream) -> Proxy {
    let service = client().through.service;
    Proxy::start(Arc::new(RwLock::new([(service, upstream)].into()))).unwrap()
}

/// Everything that is answered until the connection ends.
fn ask(proxy: &Proxy, request: &str) -> String {
    let mut stream = proxy.open(client()).unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads to the end of the head, and of a body of so many bytes.
fn head(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{text:?}");
        text.extend(byte);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn echo_says_who_asks_and_not_who_they_say_they_are() {
    let answer = ask(
        &proxy(Upstream::Echo),
        "GET /a?b=c HTTP/1.1\r\nHost: sqs\r\nX-Vpclab-Vpce-Id: vpce-forged\r\nconnection: close\r\n\r\n",
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let echo: Echo = serde_json::from_str(body).unwrap();
    assert_eq!(
        (echo.method.as_str(), echo.path.as_str()),
        ("GET", "/a?b=c")
    );
    assert_eq!(echo.vpce.as_deref(), Some("vpce-0a"));
    assert_eq!(echo.vpc.as_deref(), Some("vpc-0b"));
    assert_eq!(echo.client, "10.0.1.10");
    assert_eq!(echo.headers["host"], "sqs");
    assert!(!body.contains("forged"), "{body}");
}

#[test]
fn echo_takes_the_whole_body_before_it_answers() {
    let proxy = proxy(Upstream::Echo);
    let mut stream = proxy.open(client()).unwrap();
    stream.set_nonblocking(false).unwrap();
    let head = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..1000 {
        stream.write_all(&[b'x'; 1000]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"path\": \"/a\""), "{answer}");
}

#[test]
fn a_request_is_passed_on_with_the_endpoint_and_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut seen = Vec::new();
        // Two requests of a client on one connection are two on one here, too.
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..2 {
            seen.push(head(&mut stream));
            let mut body = [0; 5];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(&body, b"hello");
            stream
                .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nETag: x\r\n\r\nok")
                .unwrap();
        }
        seen
    });
    let proxy = proxy(Upstream::parse(&format!("http://{authority}")).unwrap());
    let put = |close| {
        format!(
            "PUT /key HTTP/1.1\r\nHost: bucket.s3.amazonaws.com\r\nAuthorization: AWS4 x\r\n\
             x-vpclab-source-ip: 6.6.6.6\r\nConnection: {close}\r\nContent-Length: 5\r\n\r\nhello"
        )
    };
    let answer = ask(&proxy, &(put("keep-alive") + &put("close")));
    assert_eq!(
        answer.matches("HTTP/1.1 201 Created").count(),
        2,
        "{answer}"
    );
    assert!(answer.contains("etag: x"), "{answer}");
    for head in server.join().unwrap() {
        assert!(head.starts_with("PUT /key HTTP/1.1\r\n"), "{head}");
        for line in [
            "host: bucket.s3.amazonaws.com",
            "authorization: AWS4 x",
            "content-length: 5",
            "x-vpclab-vpce-id: vpce-0a",
            "x-vpclab-vpc-id: vpc-0b",
            "x-vpclab-source-ip: 10.0.1.10",
            "x-vpclab-service: com.amazonaws.us-east-1.sqs",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert!(!head.contains("6.6.6.6"), "{head}");
    }
}

#[test]
fn an_upstream_that_is_not_there_is_said_to_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = taken.local_addr().unwrap().to_string();
    drop(taken);
    let proxy = proxy(Upstream::parse(&format!("http://{authority}")).unwrap());
    let answer = ask(
        &proxy,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(
        answer.contains(&format!("http://{authority} cannot be reached")),
        "{answer}"
    );
}
