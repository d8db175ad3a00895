//! Small labs that several behaviours share.

/// Two subnets of one VPC, everything allowed between their hosts.
pub(crate) const TWO_SUBNETS: &str = "
name: two-subnets
vpcs:
  main:
    cidr: 10.0.0.0/16
    ipv6: 2001:db8:1::/56
    subnets:
      left: {cidr: 10.0.1.0/24, ipv6: '2001:db8:1:1::/64', route_table: left}
      right: {cidr: 10.0.2.0/24, ipv6: '2001:db8:1:2::/64'}
    route_tables:
      left: {}
    security_groups:
      open:
        ingress: [{proto: all, from: [0.0.0.0/0, '::/0']}]
hosts:
  a: {subnet: left, address: 10.0.1.10, ipv6: '2001:db8:1:1::a', groups: open}
  b: {subnet: left, address: 10.0.1.11, ipv6: '2001:db8:1:1::b', groups: open}
  c: {subnet: right, address: 10.0.2.10, ipv6: '2001:db8:1:2::c', groups: open}
";

/// A public subnet: `web` has an Elastic IP, `inner` has none.
pub(crate) const INTERNET: &str = "
name: internet
vpcs:
  main:
    cidr: 10.0.0.0/16
    igw: true
    subnets:
      public: {cidr: 10.0.1.0/24, route_table: public}
      private: {cidr: 10.0.2.0/24}
    route_tables:
      public:
        routes: [{to: 0.0.0.0/0, via: igw}]
    security_groups:
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
hosts:
  web: {subnet: public, address: 10.0.1.10, eip: 203.0.113.10, groups: open}
  inner: {subnet: public, address: 10.0.1.11, groups: open}
  back: {subnet: private, address: 10.0.2.10, groups: open}
internet:
  hosts:
    peer: {addresses: 198.51.100.7}
";

/// PrivateLink in two zones between VPCs with the same addresses. `server` is in
/// zone a; zone b has a node and an endpoint interface, but no target.
pub(crate) const PRIVATELINK: &str = "
name: privatelink
vpcs:
  consumer:
    cidr: 10.0.0.0/16
    subnets:
      app: {cidr: 10.0.1.0/24, az: a}
      app-b: {cidr: 10.0.11.0/24, az: b}
    security_groups:
      client:
        ingress: []
      endpoint:
        ingress:
          - {proto: tcp, ports: 80, from: 10.0.1.0/24}
          - {proto: udp, ports: 53, from: 10.0.1.0/24}
          - {proto: icmp, from: 10.0.1.0/24}
  provider:
    cidr: 10.0.0.0/16
    subnets:
      servers: {cidr: 10.0.3.0/24, az: a}
      balancer: {cidr: 10.0.2.0/24, az: a}
      balancer-b: {cidr: 10.0.12.0/24, az: b}
      twins: {cidr: 10.0.1.0/24, az: a}
    security_groups:
      open:
        ingress: [{proto: all, from: 0.0.0.0/0}]
hosts:
  client: {subnet: consumer/app, address: 10.0.1.10, groups: client}
  server: {subnet: servers, address: 10.0.3.10, groups: open}
  # The client's own address, on the other side.
  twin: {subnet: twins, address: 10.0.1.10, groups: open}
load_balancers:
  web:
    type: network
    subnets: [balancer, balancer-b]
    addresses: {balancer: 10.0.2.50, balancer-b: 10.0.12.50}
    listeners:
      - {proto: tcp, port: 80, target_group: servers}
      - {proto: tcp, port: 443, target_group: servers}
      - {proto: udp, port: 53, target_group: names}
target_groups:
  servers: {protocol: tcp, port: 80, targets: server}
  names: {protocol: udp, port: 53, targets: server, health_check: {protocol: tcp, port: 80}}
endpoint_services:
  web: {load_balancers: web}
endpoints:
  service:
    service: web
    subnets: [consumer/app, consumer/app-b]
    addresses: {consumer/app: 10.0.1.100, consumer/app-b: 10.0.11.100}
    groups: endpoint
";

/// Inspection of all that passes the internet gateway, by three appliances.
pub(crate) const INSPECTION: &str = "
name: inspection
vpcs:
  app:
    cidr: 10.1.0.0/16
    ipv6: 2001:db8:1::/56
    igw: true
    subnets:
      app: {cidr: 10.1.1.0/24, ipv6: '2001:db8:1:1::/64', az: a, route_table: app}
      inspection: {cidr: 10.1.2.0/24, ipv6: '2001:db8:1:2::/64', az: a, route_table: inspection}
    route_tables:
      gateway:
        edge: igw
        routes:
          - {to: 10.1.1.0/24, via: inspect}
          - {to: '2001:db8:1:1::/64', via: inspect}
      app:
        routes:
          - {to: 0.0.0.0/0, via: inspect}
          - {to: '::/0', via: inspect}
      inspection:
        routes:
          - {to: 0.0.0.0/0, via: igw}
          - {to: '::/0', via: igw}
    security_groups:
      open:
        ingress: [{proto: all, from: [0.0.0.0/0, '::/0']}]
        egress: [{proto: all, to: [0.0.0.0/0, '::/0']}]
  appliances:
    cidr: 10.2.0.0/16
    subnets:
      fw: {cidr: 10.2.1.0/24, az: a}
    security_groups:
      appliance:
        ingress:
          - {proto: udp, ports: 6081, from: 10.2.1.0/24}
          - {proto: tcp, ports: 80, from: 10.2.1.0/24}
hosts:
  app: {subnet: app/app, address: 10.1.1.10, ipv6: '2001:db8:1:1::10', eip: 203.0.113.10, groups: open}
  fw1: {subnet: fw, address: 10.2.1.11, groups: appliance}
  fw2: {subnet: fw, address: 10.2.1.12, groups: appliance}
  fw3: {subnet: fw, address: 10.2.1.13, groups: appliance}
internet:
  hosts:
    peer: {addresses: [198.51.100.7, '2001:db8:ffff::7']}
load_balancers:
  firewalls:
    type: gateway
    subnets: fw
    listeners: [{target_group: firewalls}]
target_groups:
  firewalls: {protocol: geneve, targets: [fw1, fw2, fw3]}
endpoint_services:
  firewalls: {load_balancers: firewalls, acceptance_required: false}
endpoints:
  inspect: {service: firewalls, subnets: app/inspection, address: 10.1.2.100, dualstack: true}
";

/// The appliances of [`INSPECTION`].
pub(crate) const FIREWALLS: [&str; 3] = ["fw1", "fw2", "fw3"];
