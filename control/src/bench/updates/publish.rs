//! One route changed through the API: checked, compiled onto the tables as they
//! are, and published.

use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::addr::{Prefix, RouteTableId as TableRow};
use vpclab_dataplane::flow::Seed;
use vpclab_dataplane::tables::RouteTarget;
use vpclab_dataplane::time::Duration;
use vpclab_dataplane::worker::Clock;

use crate::api::{
    Action, ApiError, AttachInternetGateway, Caller, ControlPlane, ControlPlaneOptions,
    CreateInternetGateway, CreateNetworkInterface, CreateRoute, CreateRouteTable, CreateSubnet,
    CreateVpc, DeleteRoute, ReplaceRoute,
};
use crate::bench::lpm::made_v4;
use crate::bench::report::Spread;
use crate::bench::{BenchError, Depth, Done, Options, Work};
use crate::model::{Destination, RouteTableId, RouteTargetSpec};
use crate::quotas::Quotas;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The target of a route that is there.
    Target,
    /// A prefix comes, and goes again with the next change.
    Prefix,
}

/// A table of many routes, changed one by one.
#[derive(Debug)]
pub struct Publish {
    control: ControlPlane,
    table: RouteTableId,
    row: TableRow,
    /// Two targets, as the API names them and as the tables have them.
    targets: [(RouteTargetSpec, RouteTarget); 2],
    prefixes: Vec<Prefix>,
    change: Change,
    count: u64,
    /// Changes so far.
    made: u64,
    /// Nanoseconds of each change of the timed rounds.
    took: Vec<f64>,
    wrong: Option<String>,
}

fn refused(error: &ApiError) -> BenchError {
    BenchError::Wrong(format!("the API refused: {error}"))
}

/// Where the VPC is: no route of the table may lie in it.
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);

impl Publish {
    /// Makes a VPC whose route table has this many routes.
    ///
    /// # Errors
    /// When the API refuses something.
    pub fn new(options: &Options, routes: u64, change: Change) -> Result<Self, BenchError> {
        let mut quotas = Quotas::default();
        quotas
            .set_by_name("routes-per-route-table", routes + 10)
            .map_err(|error| BenchError::wrong(error.to_string()))?;
        let mut control = ControlPlane::new(ControlPlaneOptions {
            seed: options.seed,
            quotas,
            ..ControlPlaneOptions::default()
        });
        let made = made_v4((routes + routes / 16).max(128), options.seed);
        let prefixes = made.into_iter().filter_map(|(address, len, _)| {
            // Not those that AWS refuses: its own block, link-local, loopback.
            let fine = !matches!(address >> 24, 10 | 100 | 127 | 169) && len > 8;
            let prefix = Prefix::new(IpAddr::V4(address.into()), len);
            prefix.filter(|_| fine)
        });
        let prefixes: Vec<Prefix> = prefixes.take(routes as usize).collect();
        let made = control.transact(&Caller::default(), |tx| {
            let vpc = CreateVpc {
                cidr_block: Prefix::new(OWN.into(), 16),
                ..CreateVpc::default()
            };
            let vpc = vpc.apply(tx)?.vpc;
            let subnet = CreateSubnet {
                vpc: vpc.clone(),
                cidr_block: Prefix::new(OWN.into(), 24),
                ..CreateSubnet::default()
            };
            let subnet = subnet.apply(tx)?;
            let gateway = CreateInternetGateway::default().apply(tx)?;
            let attach = AttachInternetGateway {
                internet_gateway: gateway.clone(),
                vpc: vpc.clone(),
            };
            attach.apply(tx)?;
            let interface = CreateNetworkInterface {
                subnet,
                ..CreateNetworkInterface::default()
            };
            let targets = [
                RouteTargetSpec::InternetGateway(gateway),
                RouteTargetSpec::NetworkInterface(interface.apply(tx)?),
            ];
            let table = CreateRouteTable { vpc, name: None }.apply(tx)?;
            for prefix in &prefixes {
                let route = CreateRoute {
                    route_table: table.clone(),
                    destination: Destination::Cidr(*prefix),
                    target: targets[0].clone(),
                };
                route.apply(tx)?;
            }
            Ok((table, targets))
        });
        let (table, targets) = made.map_err(|error| refused(&error))?;
        let row = control.model().row(&table);
        let row = row.ok_or_else(|| BenchError::wrong("the route table has no row"))?;
        let [gateway, interface] = targets;
        Ok(Self {
            row: TableRow(row),
            targets: [
                (gateway, RouteTarget::InternetGateway),
                // Nobody is behind it: AWS calls such a route a black hole.
                (interface, RouteTarget::Blackhole),
            ],
            control,
            table,
            prefixes,
            change,
            count: match options.depth {
                Depth::Smoke => 10,
                Depth::Normal | Depth::Full => 300,
            },
            made: 0,
            took: Vec::new(),
            wrong: None,
        })
    }

    /// A prefix that is none of the table's: a host route in a block it does not use.
    fn new_prefix(&self, n: u64) -> Prefix {
        let host = 0x6440_0000 | (Seed(7).words(&[n]) as u32 & 0x3f_ffff);
        Prefix::host(IpAddr::V4(host.into()))
    }

    /// The next change: through the API, until it is published.
    fn once(&mut self) -> Result<(Prefix, Option<RouteTarget>), ApiError> {
        let n = self.made;
        self.made += 1;
        let route_table = self.table.clone();
        match self.change {
            Change::Target => {
                let pick = Seed(11).words(&[n]) % self.prefixes.len().max(1) as u64;
                let prefix = self.prefixes.get(pick as usize).copied();
                let prefix = prefix.unwrap_or(Prefix::ANY_V4);
                // A target that it does not have now.
                let held = self.published(prefix);
                let next = usize::from(held.as_ref() == Some(&self.targets[0].1));
                let (target, known) = self.targets[next].clone();
                self.control.execute(ReplaceRoute {
                    route_table,
                    destination: Destination::Cidr(prefix),
                    target,
                })?;
                Ok((prefix, Some(known)))
            }
            Change::Prefix => {
                let prefix = self.new_prefix(n / 2);
                let destination = Destination::Cidr(prefix);
                if n % 2 == 1 {
                    let delete = DeleteRoute {
                        route_table,
                        destination,
                    };
                    self.control.execute(delete)?;
                    return Ok((prefix, None));
                }
                let (target, known) = self.targets[1].clone();
                self.control.execute(CreateRoute {
                    route_table,
                    destination,
                    target,
                })?;
                Ok((prefix, Some(known)))
            }
        }
    }

    /// What the published tables say of exactly this prefix.
    fn published(&self, prefix: Prefix) -> Option<RouteTarget> {
        let tables = self.control.tables().load();
        let route = tables.route_tables.row(self.row)?.route_of(prefix)?;
        Some(route.target.clone())
    }
}

impl Work for Publish {
    fn round(&mut self) -> Done {
        let clock = Clock::start();
        let mut elapsed = Duration::from_nanos(0);
        for _ in 0..self.count {
            let start = clock.now();
            let changed = self.once();
            let took = clock.now().since(start);
            elapsed = Duration::from_nanos(elapsed.as_nanos() + took.as_nanos());
            self.took.push(took.as_nanos() as f64);
            // Looked at after each, outside the time that counts.
            let wrong = match changed {
                Err(error) => Some(refused(&error).to_string()),
                Ok((prefix, target)) => {
                    let found = self.published(prefix);
                    (found != target).then(|| {
                        format!("the published route of {prefix} leads to {found:?} instead of {target:?}")
                    })
                }
            };
            self.wrong = self.wrong.take().or(wrong);
        }
        Done {
            operations: self.count,
            elapsed: Some(std::time::Duration::from_nanos(elapsed.as_nanos())),
            ..Done::default()
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(BenchError::Wrong(wrong));
        }
        // A route that nobody changed is found as it was.
        let table = self.prefixes.iter().take(100);
        for prefix in table {
            if self.published(*prefix).is_none() {
                return Err(BenchError::wrong(format!("the route of {prefix} is lost")));
            }
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let us = |ns: f64| ns / 1_000.0;
        let mut sorted = self.took.clone();
        sorted.sort_by(f64::total_cmp);
        let p99 = sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(0.0);
        let spread = Spread::of(&self.took);
        vec![
            ("update_median_us", us(spread.median)),
            ("update_p99_us", us(p99)),
            ("update_slowest_us", us(spread.max)),
        ]
    }
}
