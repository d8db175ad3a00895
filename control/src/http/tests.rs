//! The HTTP port as a client sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use vpclab_dataplane::accounts::BalancerCounts;
use vpclab_dataplane::drop::DropReason;

use super::metrics::{
    BalancerSample, EndpointSample, EniSample, METRICS, Sample, TargetSample, documentation, text,
};
use super::*;
use crate::report::gateway::GatewayReport;
use crate::report::ps::PortCountersReport;

/// A lab that is well, or says what is wrong.
struct Lab(Result<(), String>);

impl Source for Lab {
    fn sample(&self) -> Result<Sample, String> {
        self.0.clone().map(|()| sample())
    }

    fn health(&self) -> Result<String, String> {
        self.0.clone().map(|()| "demo".to_owned())
    }
}

fn sample() -> Sample {
    let mut sample = Sample {
        lab: "demo".to_owned(),
        uptime_s: 1.5,
        enis: vec![EniSample {
            id: "eni-1".to_owned(),
            host: "we\"b".to_owned(),
            device: "eth0".to_owned(),
            port: PortCountersReport {
                rx: 3,
                rx_bytes: 300,
                ..PortCountersReport::default()
            },
        }],
        targets: vec![TargetSample {
            group: "servers".to_owned(),
            target: "10.0.0.1:80".to_owned(),
            health: "unhealthy".to_owned(),
        }],
        balancers: vec![BalancerSample {
            name: "firewalls".to_owned(),
            kind: "gateway",
            zone: "us-east-1a".to_owned(),
            counts: BalancerCounts {
                active: 2,
                ..BalancerCounts::default()
            },
        }],
        endpoints: vec![EndpointSample {
            name: "service".to_owned(),
            service: "web".to_owned(),
            available: true,
            counts: Some(BalancerCounts {
                bytes: 99,
                ..BalancerCounts::default()
            }),
        }],
        nat_gateways: vec![("out".to_owned(), Default::default())],
        gateway: Some(GatewayReport::default()),
        ..Sample::default()
    };
    sample.counters.pipeline.received = 7;
    sample.counters.pipeline.drop(DropReason::NoRoute);
    sample
}

fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn served(lab: Lab) -> SocketAddr {
    let listener = bind(HttpChoice::Port(0), None)
        .expect("a port")
        .expect("on");
    serve(listener, router(Arc::new(lab))).expect("serves")
}

#[test]
fn metrics_and_health_are_served() {
    let address = served(Lab(Ok(())));
    let (head, body) = get(address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    for line in [
        "vpclab_frames_received_total 7\n",
        "vpclab_frames_dropped_total{reason=\"route.none\"} 1\n",
        "vpclab_eni_out_bytes_total{eni=\"eni-1\",host=\"we\\\"b\",device=\"eth0\"} 300\n",
        "vpclab_uptime_seconds 1.5\n",
        "vpclab_target_healthy{target_group=\"servers\",target=\"10.0.0.1:80\"} 0\n",
        "vpclab_targets{target_group=\"servers\",health=\"unhealthy\"} 1\n",
        "vpclab_endpoint_processed_bytes_total{endpoint=\"service\",service=\"web\"} 99\n",
        "vpclab_lb_active_flows{load_balancer=\"firewalls\",type=\"gateway\",zone=\"us-east-1a\"} 2\n",
        "vpclab_endpoint_available{endpoint=\"service\",service=\"web\"} 1\n",
    ] {
        assert!(body.contains(line), "{line}missing in:\n{body}");
    }
    assert!(body.ends_with("# EOF\n"), "{body}");

    let (head, body) = get(address, "/health");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "{\"lab\":\"demo\",\"status\":\"ok\"}\n");
    assert!(get(address, "/nowhere").0.starts_with("HTTP/1.1 404"));
}

#[test]
fn a_lab_that_is_not_well_says_so() {
    let address = served(Lab(Err("the packet worker has ended".to_owned())));
    for path in ["/metrics", "/health"] {
        let (head, body) = get(address, path);
        assert!(head.starts_with("HTTP/1.1 503"), "{path}: {head}");
        assert!(
            body.contains("the packet worker has ended"),
            "{path}: {body}"
        );
    }
}

#[test]
fn a_port_that_is_taken_is_refused_or_passed_over() {
    let taken = bind(HttpChoice::Port(0), None)
        .expect("a port")
        .expect("on");
    let port = taken.local_addr().expect("bound").port();
    let error = bind(HttpChoice::Port(port), None).expect_err("it is taken");
    assert_eq!(
        error.to_string(),
        format!("port {port} of 127.0.0.1 is in use")
    );
    // The former daemon's port is somebody else's now: another will do.
    let other = bind(HttpChoice::Default, Some(port))
        .expect("a port")
        .expect("on");
    assert_ne!(other.local_addr().expect("bound").port(), port);
    drop(taken);
    let again = bind(HttpChoice::Default, Some(port))
        .expect("a port")
        .expect("on");
    assert_eq!(again.local_addr().expect("bound").port(), port);
    assert!(
        bind(HttpChoice::Off, None)
            .expect("nothing to fail")
            .is_none()
    );
}

#[test]
fn the_documentation_names_what_is_served() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let shipped = std::fs::read_to_string(file).unwrap_or_default();
    let table = documentation();
    assert!(
        shipped.contains(&table),
        "docs/metrics.md does not have this table:\n{table}"
    );
    // What is served, by family: its labels.
    let served = text(&sample());
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in served.lines().filter(|line| !line.starts_with('#')) {
        let (name, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels.trim_end_matches('}').split("\",");
        let keys = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        families.entry(name.to_owned()).or_default().extend(keys);
    }
    for metric in METRICS {
        let labels = families.remove(&metric.full_name());
        let labels = labels.unwrap_or_else(|| panic!("{} is not served", metric.full_name()));
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", metric.full_name())))
            .expect("documented");
        for label in &labels {
            assert!(line.contains(&format!("`{label}`")), "{label}: {line}");
        }
    }
    assert!(families.is_empty(), "served, not documented: {families:?}");
}
