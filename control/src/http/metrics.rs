//! Metrics for Prometheus: one table of what there is, read at each scrape.
//!
//! `docs/metrics.md` is this table; a test compares them, and what is served.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use vpclab_dataplane::accounts::BalancerCounts;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::nat::GatewayCounts;
use vpclab_dataplane::worker::WorkerCounters;

use crate::report::gateway::GatewayReport;
use crate::report::ps::PortCountersReport;

/// What `/metrics` is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The lab at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Name of the lab.
    pub lab: String,
    /// Seconds since its daemon started.
    pub uptime_s: f64,
    /// Accounts of the data plane.
    pub counters: WorkerCounters,
    /// Live flows.
    pub flows: u64,
    /// ENIs of hosts.
    pub enis: Vec<EniSample>,
    /// Targets.
    pub targets: Vec<TargetSample>,
    /// Nodes of load balancers.
    pub balancers: Vec<BalancerSample>,
    /// Endpoints.
    pub endpoints: Vec<EndpointSample>,
    /// NAT gateways: name (or id), and what it has counted.
    pub nat_gateways: Vec<(String, GatewayCounts)>,
    /// The way to and from the real network, if there is one.
    pub gateway: Option<GatewayReport>,
    /// Memory of the daemon in bytes.
    pub resident_bytes: u64,
}

/// An ENI of a host.
#[derive(Clone, Debug, Default)]
pub struct EniSample {
    /// AWS id.
    pub id: String,
    /// Host.
    pub host: String,
    /// `eth0`…
    pub device: String,
    /// What crossed it.
    pub port: PortCountersReport,
}

/// A target of a target group.
#[derive(Clone, Debug, Default)]
pub struct TargetSample {
    /// Target group.
    pub group: String,
    /// `address:port`
    pub target: String,
    /// AWS's state.
    pub health: String,
}

/// A load balancer's node.
#[derive(Clone, Debug, Default)]
pub struct BalancerSample {
    /// Load balancer.
    pub name: String,
    /// `network` or `gateway`.
    pub kind: &'static str,
    /// The node's zone.
    pub zone: String,
    /// What it has counted.
    pub counts: BalancerCounts,
}

/// An endpoint.
#[derive(Clone, Debug, Default)]
pub struct EndpointSample {
    /// Name, or id.
    pub name: String,
    /// Service.
    pub service: String,
    /// Whether it is available.
    pub available: bool,
    /// What it has counted; a gateway endpoint counts nothing.
    pub counts: Option<BalancerCounts>,
}

/// A metric: how it is named, what it means, and where it is read.
#[derive(Debug)]
pub struct Metric {
    /// Without the suffixes for unit and `_total`.
    name: &'static str,
    kind: Kind,
    unit: Option<&'static str>,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Sample, &mut Points),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Values of one metric, each with its labels' values.
#[derive(Debug, Default)]
struct Points(Vec<(Vec<String>, Number)>);

/// Counts are written without a point.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    Real(f64),
}

impl Points {
    fn one(&mut self, value: impl Into<Number>) {
        self.with([], value);
    }

    fn with<const N: usize>(&mut self, labels: [&str; N], value: impl Into<Number>) {
        let labels = labels.map(str::to_owned).to_vec();
        self.0.push((labels, value.into()));
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl Metric {
    /// The name as it is served.
    pub fn full_name(&self) -> String {
        let unit = self.unit.map_or(String::new(), |unit| format!("_{unit}"));
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
        };
        format!("{}{unit}{total}", self.name)
    }

    fn encode(&self, sample: &Sample, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.map(|unit| Unit::Other(unit.to_owned()));
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        let mut points = Points::default();
        (self.read)(sample, &mut points);
        for (values, number) in points.0 {
            let labels: Vec<_> = self.labels.iter().copied().zip(values).collect();
            if labels.is_empty() {
                write(&mut family, self.kind, number)?;
            } else {
                write(&mut family.encode_family(&labels)?, self.kind, number)?;
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, number: Number) -> fmt::Result {
    match (kind, number) {
        (Kind::Counter, Number::Whole(value)) => {
            encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None)
        }
        (Kind::Counter, Number::Real(value)) => {
            encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
        }
        (Kind::Gauge, Number::Whole(value)) => encoder.encode_gauge(&value),
        (Kind::Gauge, Number::Real(value)) => encoder.encode_gauge(&value),
    }
}

impl Collector for Sample {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS
            .iter()
            .try_for_each(|metric| metric.encode(self, &mut encoder))
    }
}

/// The sample as Prometheus reads it.
pub fn text(sample: &Sample) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sample.clone()));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// The table of `docs/metrics.md`.
pub fn documentation() -> String {
    let mut text =
        String::from("| Metric | Type | Unit | Labels | Meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let unit = metric.unit.unwrap_or("–");
        text.push_str(&format!(
            "| `{}` | {kind} | {unit} | {} | {} |\n",
            metric.full_name(),
            labels.join(", "),
            metric.help
        ));
    }
    text
}

macro_rules! metrics {
    ($($kind:ident $name:literal $([$unit:literal])? $({$($label:literal),+})? $help:literal $read:expr;)*) => {
        /// Every metric, in the order in which they are served.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: {
                let _unit: Option<&'static str> = None;
                $(let _unit = Some($unit);)?
                _unit
            },
            labels: &[$($($label),+)?],
            help: $help,
            read: $read,
        },)*];
    };
}

metrics! {
    Gauge "vpclab_lab" {"lab", "version"} "Always 1; says which lab this is and which vpclab runs it."
        |it, to| to.with([&it.lab, env!("CARGO_PKG_VERSION")], true);
    Gauge "vpclab_uptime" ["seconds"] "Time since the lab's daemon started."
        |it, to| to.one(it.uptime_s);
    Gauge "vpclab_daemon_resident_memory" ["bytes"] "Memory of the lab's daemon."
        |it, to| to.one(it.resident_bytes);

    Counter "vpclab_frames_received" "Frames taken from ports. Received + generated + handed in is transmitted + local + consumed + handed out + queued + dropped."
        |it, to| to.one(it.counters.pipeline.received);
    Counter "vpclab_frames_generated" "Frames that the data plane made: replies, resets, ICMP errors, segments and fragments beyond the first."
        |it, to| to.one(it.counters.pipeline.generated);
    Counter "vpclab_frames_handed_in" "Frames that came from another worker."
        |it, to| to.one(it.counters.pipeline.handed_in);
    Counter "vpclab_frames_transmitted" "Frames given to ports."
        |it, to| to.one(it.counters.pipeline.transmitted);
    Counter "vpclab_frames_local" "Frames given to local services, health checks above all."
        |it, to| to.one(it.counters.pipeline.local);
    Counter "vpclab_frames_consumed" "Frames answered by the router itself: ARP, neighbour discovery, pings of it."
        |it, to| to.one(it.counters.pipeline.consumed);
    Counter "vpclab_frames_handed_out" "Frames that went to another worker."
        |it, to| to.one(it.counters.pipeline.handed_out);
    Gauge "vpclab_frames_queued" "Frames kept for later."
        |it, to| to.one(it.counters.pipeline.queued);
    Counter "vpclab_frames_dropped" {"reason"} "Frames dropped, by reason; `vpclab drops` shows each with its fix."
        |it, to| for &reason in DropReason::ALL {
            to.with([reason.name()], it.counters.pipeline.drops(reason));
        };

    Counter "vpclab_flow_cache_hits" "Packets forwarded by a cached decision."
        |it, to| to.one(it.counters.pipeline.flow_hits);
    Counter "vpclab_flow_cache_misses" "Packets without a cached way: walked, or sent by the plan of their class."
        |it, to| to.one(it.counters.pipeline.flow_misses);
    Gauge "vpclab_flows" "Live flows."
        |it, to| to.one(it.flows);
    Counter "vpclab_flows_created" "Flows that began."
        |it, to| to.one(it.counters.pipeline.flows_created);
    Counter "vpclab_flows_planned" "Of these, by the plan of another of their class, without a walk."
        |it, to| to.one(it.counters.pipeline.flows_planned);
    Counter "vpclab_flow_answers_planned" "First answers sent by the plan of another of their class."
        |it, to| to.one(it.counters.pipeline.answers_planned);
    Counter "vpclab_flows_ended" "Flows that ended or timed out."
        |it, to| to.one(it.counters.pipeline.flows_ended);
    Counter "vpclab_flows_evicted" "Half-open flows evicted to make room."
        |it, to| to.one(it.counters.pipeline.flows_evicted);
    Counter "vpclab_gwlb_flows_created" "Flows that a gateway load balancer gave a target (AWS: NewFlowCount)."
        |it, to| to.one(it.counters.pipeline.gwlb_flows_created);

    Counter "vpclab_eni_out_packets" {"eni", "host", "device"} "Packets that the host sent (AWS: NetworkPacketsOut)."
        |it, to| for_enis(it, to, |port| port.rx);
    Counter "vpclab_eni_out" ["bytes"] {"eni", "host", "device"} "Bytes that the host sent, Ethernet headers included (AWS: NetworkOut)."
        |it, to| for_enis(it, to, |port| port.rx_bytes);
    Counter "vpclab_eni_in_packets" {"eni", "host", "device"} "Packets that the host got (AWS: NetworkPacketsIn)."
        |it, to| for_enis(it, to, |port| port.tx);
    Counter "vpclab_eni_in" ["bytes"] {"eni", "host", "device"} "Bytes that the host got, Ethernet headers included (AWS: NetworkIn)."
        |it, to| for_enis(it, to, |port| port.tx_bytes);
    Counter "vpclab_eni_refused_packets" {"eni", "host", "device"} "Packets that the host's port did not take."
        |it, to| for_enis(it, to, |port| port.refused);
    Counter "vpclab_eni_errors" {"eni", "host", "device"} "Errors of the operating system at the port, and packets that never fit."
        |it, to| for_enis(it, to, |port| port.errors);

    Gauge "vpclab_target_healthy" {"target_group", "target"} "1 if the target is healthy, else 0."
        |it, to| for target in &it.targets {
            to.with([&target.group, &target.target], target.health == "healthy");
        };
    Gauge "vpclab_targets" {"target_group", "health"} "Targets in each state (AWS: HealthyHostCount, UnHealthyHostCount)."
        targets_by_state;
    Gauge "vpclab_endpoint_available" {"endpoint", "service"} "1 if the endpoint is available, else 0."
        |it, to| for endpoint in &it.endpoints {
            to.with([&endpoint.name, &endpoint.service], endpoint.available);
        };
    Gauge "vpclab_endpoint_active_connections" {"endpoint", "service"} "Connections that the endpoint carries (AWS: ActiveConnections)."
        |it, to| for_endpoints(it, to, |counts| counts.active);
    Counter "vpclab_endpoint_connections" {"endpoint", "service"} "Connections that began at the endpoint (AWS: NewConnections)."
        |it, to| for_endpoints(it, to, |counts| counts.created);
    Counter "vpclab_endpoint_processed" ["bytes"] {"endpoint", "service"} "Bytes of IP packets both ways (AWS: BytesProcessed)."
        |it, to| for_endpoints(it, to, |counts| counts.bytes);
    Counter "vpclab_endpoint_dropped_packets" {"endpoint", "service"} "Packets that the endpoint, or the load balancer behind it, dropped (AWS: PacketsDropped)."
        |it, to| for_endpoints(it, to, |counts| counts.dropped);
    Counter "vpclab_endpoint_resets" {"endpoint", "service"} "TCP resets that came from the service (AWS: RstPacketsReceived)."
        |it, to| for_endpoints(it, to, |counts| counts.resets);

    Gauge "vpclab_lb_active_flows" {"load_balancer", "type", "zone"} "Connections that the load balancer carries (AWS: ActiveFlowCount)."
        |it, to| for_balancers(it, to, "", |counts| counts.active);
    Counter "vpclab_lb_flows" {"load_balancer", "type", "zone"} "Connections that the load balancer gave a target (AWS: NewFlowCount)."
        |it, to| for_balancers(it, to, "", |counts| counts.created);
    Counter "vpclab_lb_processed" ["bytes"] {"load_balancer", "type", "zone"} "Bytes of IP packets both ways, of a gateway load balancer those inside its tunnels (AWS: ProcessedBytes)."
        |it, to| for_balancers(it, to, "", |counts| counts.bytes);
    Counter "vpclab_lb_rejected_flows" {"load_balancer", "type", "zone"} "Packets that might have begun a connection and found no target, listener or port, or came too late for one (AWS: RejectedFlowCount)."
        |it, to| for_balancers(it, to, "", |counts| counts.rejected);
    Counter "vpclab_lb_rejected_tcp_flows" {"load_balancer", "type", "zone"} "Of these, TCP (AWS: RejectedFlowCount_TCP)."
        |it, to| for_balancers(it, to, "", |counts| counts.rejected_tcp);
    Counter "vpclab_gwlb_invalid_geneve_tunnel_packets" {"load_balancer", "type", "zone"} "Packets of appliances with other outer addresses, port or form than they must have (AWS: PacketsDroppedCount_InvalidGeneveTunnel)."
        |it, to| for_balancers(it, to, "gateway", |counts| counts.invalid_tunnel);
    Counter "vpclab_gwlb_invalid_endpoint_id_packets" {"load_balancer", "type", "zone"} "Packets of appliances without the endpoint's id (AWS: PacketsDroppedCount_InvalidGwlbEndpointId)."
        |it, to| for_balancers(it, to, "gateway", |counts| counts.invalid_endpoint_id);
    Counter "vpclab_gwlb_invalid_flow_cookie_packets" {"load_balancer", "type", "zone"} "Packets of appliances without the flow's cookie (AWS: PacketsDroppedCount_InvalidGwlbFlowCookie)."
        |it, to| for_balancers(it, to, "gateway", |counts| counts.invalid_cookie);

    Gauge "vpclab_nat_active_connections" {"nat_gateway"} "Connections that the NAT gateway carries (AWS: ActiveConnectionCount)."
        |it, to| for_nats(it, to, |counts| counts.active);
    Counter "vpclab_nat_connection_attempts" {"nat_gateway"} "Connections that began at the NAT gateway (AWS: ConnectionAttemptCount)."
        |it, to| for_nats(it, to, |counts| counts.attempts);
    Counter "vpclab_nat_connections_established" {"nat_gateway"} "Of these, those that were answered (AWS: ConnectionEstablishedCount)."
        |it, to| for_nats(it, to, |counts| counts.established);
    Counter "vpclab_nat_port_allocation_errors" {"nat_gateway"} "Packets for which the NAT gateway had no source port left (AWS: ErrorPortAllocation)."
        |it, to| for_nats(it, to, |counts| counts.port_allocation_errors);
    Counter "vpclab_nat_idle_timeouts" {"nat_gateway"} "Connections that ended by silence (AWS: IdleTimeoutCount)."
        |it, to| for_nats(it, to, |counts| counts.idle_timeouts);
    Counter "vpclab_nat_dropped_packets" {"nat_gateway"} "Packets that the NAT gateway dropped (AWS: PacketsDropCount)."
        |it, to| for_nats(it, to, |counts| counts.dropped);
    Counter "vpclab_nat_out_packets" {"nat_gateway"} "Packets from the inside (AWS: PacketsInFromSource, PacketsOutToDestination)."
        |it, to| for_nats(it, to, |counts| counts.packets[0]);
    Counter "vpclab_nat_in_packets" {"nat_gateway"} "Packets back (AWS: PacketsInFromDestination, PacketsOutToSource)."
        |it, to| for_nats(it, to, |counts| counts.packets[1]);
    Counter "vpclab_nat_out" ["bytes"] {"nat_gateway"} "Bytes of IP packets from the inside (AWS: BytesInFromSource, BytesOutToDestination)."
        |it, to| for_nats(it, to, |counts| counts.bytes[0]);
    Counter "vpclab_nat_in" ["bytes"] {"nat_gateway"} "Bytes of IP packets back (AWS: BytesInFromDestination, BytesOutToSource)."
        |it, to| for_nats(it, to, |counts| counts.bytes[1]);

    Gauge "vpclab_gateway_conversations" {"protocol"} "Connections (tcp) and other conversations (udp, with echo) with the real network."
        |it, to| if let Some(gateway) = &it.gateway {
            to.with(["tcp"], gateway.tcp);
            to.with(["udp"], gateway.datagrams);
        };
    Counter "vpclab_gateway_no_room" "Conversations with the real network that were refused or forgotten because of too many."
        |it, to| if let Some(gateway) = &it.gateway {
            to.one(gateway.no_room);
        };
    Counter "vpclab_gateway_not_carried_packets" "Packets that were not let out: to this machine itself, or of a kind that is not carried."
        |it, to| if let Some(gateway) = &it.gateway {
            to.one(gateway.not_carried);
        };

    Counter "vpclab_capture_lost_packets" "Packets that captures missed because their reader was slow."
        |it, to| to.one(it.counters.capture_lost);
}

fn for_enis(sample: &Sample, to: &mut Points, pick: fn(&PortCountersReport) -> u64) {
    for eni in &sample.enis {
        to.with([&eni.id, &eni.host, &eni.device], pick(&eni.port));
    }
}

fn for_endpoints(sample: &Sample, to: &mut Points, pick: fn(&BalancerCounts) -> u64) {
    for endpoint in &sample.endpoints {
        if let Some(counts) = &endpoint.counts {
            to.with([&endpoint.name, &endpoint.service], pick(counts));
        }
    }
}

/// Those of this kind only, if one is named.
fn for_balancers(sample: &Sample, to: &mut Points, kind: &str, pick: fn(&BalancerCounts) -> u64) {
    let wanted = sample.balancers.iter();
    for node in wanted.filter(|node| kind.is_empty() || node.kind == kind) {
        to.with([&node.name, node.kind, &node.zone], pick(&node.counts));
    }
}

fn for_nats(sample: &Sample, to: &mut Points, pick: fn(&GatewayCounts) -> u64) {
    for (name, counts) in &sample.nat_gateways {
        to.with([name], pick(counts));
    }
}

fn targets_by_state(sample: &Sample, to: &mut Points) {
    let mut groups: Vec<_> = sample.targets.iter().map(|it| it.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        // Those that nothing is in are there too: a query for them finds 0.
        for state in ["initial", "healthy", "unhealthy", "draining", "unused"] {
            let of = |it: &&TargetSample| it.group == group && it.health == state;
            let count = sample.targets.iter().filter(of).count();
            to.with([group, state], count as u64);
        }
    }
}
