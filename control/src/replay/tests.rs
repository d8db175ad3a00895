use super::*;
use crate::lab::Lab;

const EXAMPLE: &str = include_str!("../../../examples/privatelink.yaml");

/// What the client of the example sends while it talks to the service, and
/// while it is refused.
fn recorded() -> Vec<Recorded> {
    let mut lab = Lab::from_yaml(EXAMPLE).unwrap().seed(1);
    lab.host("server").tcp_listen(80).echo();
    lab.run_until_health_is_known().unwrap();
    let client = lab.host("client");
    let conn = client.tcp_connect_from(50_000, lab.dns("service").unwrap(), 80);
    conn.send("hello");
    lab.run_until(|_| conn.received("hello")).unwrap();
    client.tcp_connect_from(50_001, lab.dns("service").unwrap(), 81);
    lab.run_for(vpclab_dataplane::time::Duration::from_secs(1));
    let sent = client.sent_frames();
    read(&Capture::of(sent).to_pcap().unwrap()).unwrap()
}

fn replay(topology: &str) -> Replay {
    let topology = Topology::parse("t.yaml", topology).unwrap();
    Replay::run(&topology, "client", recorded()).unwrap()
}

#[test]
fn a_recording_comes_out_the_same_every_time() {
    let (first, second) = (replay(EXAMPLE), replay(EXAMPLE));
    assert_eq!(first.report, second.report);
    let frames = &first.report.frames;
    let arp = &frames[0];
    assert_eq!(
        (arp.verdict, arp.out[0].to.as_str()),
        (Verdict::Answered, "client/eth0")
    );
    let syn = frames
        .iter()
        .find(|f| f.verdict == Verdict::Forwarded)
        .unwrap();
    assert_eq!(syn.out[0].to, "server/eth0");
    let refused = frames
        .iter()
        .find(|f| f.verdict == Verdict::Dropped)
        .unwrap();
    assert_eq!(refused.reason.as_deref(), Some("security_group"));

    let out = read(&first.to_pcap().unwrap()).unwrap();
    assert_eq!(second.frame_differences(&out), Vec::<String>::new());
    let text = serde_json::to_string(&first.report).unwrap();
    let verdicts: ReplayReport = serde_json::from_str(&text).unwrap();
    assert_eq!(second.verdict_differences(&verdicts), Vec::<String>::new());
}

#[test]
fn another_topology_shows_where_it_differs() {
    let rule = "- {proto: tcp, ports: 80, to: endpoint}";
    assert!(EXAMPLE.contains(rule));
    let open = replay(EXAMPLE);
    let closed = replay(&EXAMPLE.replacen(rule, "- {proto: tcp, ports: 79, to: endpoint}", 1));
    let differences = closed.verdict_differences(&open.report);
    assert!(
        differences[0].contains("dropped (security_group); expected: forwarded"),
        "{differences:?}"
    );
    let mut out = read(&open.to_pcap().unwrap()).unwrap();
    assert!(!closed.frame_differences(&out).is_empty());
    out[1].bytes[20] ^= 1;
    assert!(open.frame_differences(&out)[0].contains("frame 2 that came out, from byte 20 on"));
}

#[test]
fn a_capture_of_a_running_lab_is_read_without_what_the_host_received() {
    use vpclab_dataplane::packet::Offload;
    use vpclab_dataplane::worker::{CaptureEvent, Clock, Direction};
    let mut bytes = Vec::new();
    let mut writer = crate::host::capture::CaptureWriter::new(&mut bytes, Clock::start()).unwrap();
    for (at, direction) in [
        (1, Direction::Received),
        (2, Direction::Transmitted),
        (3, Direction::Received),
    ] {
        let event = CaptureEvent {
            at: Instant::from_secs(at),
            eni: EniId(1),
            direction,
            dropped: None,
            offload: Offload::default(),
            bytes: vec![at as u8; 60],
        };
        writer.write(event, None, |_| "client".to_owned()).unwrap();
    }
    let frames = read(&bytes).unwrap();
    let seen: Vec<_> = frames
        .iter()
        .map(|f| (f.after.as_secs(), f.bytes[0]))
        .collect();
    assert_eq!(seen, [(0, 1), (2, 3)]);
    assert!(read(b"neither").is_err());
}

#[test]
fn an_unknown_interface_is_named() {
    let topology = Topology::parse("t.yaml", EXAMPLE).unwrap();
    let error = Replay::run(&topology, "nobody", Vec::new()).unwrap_err();
    assert!(error.to_string().contains("client"), "{error}");
}
