//! Memory: what a connection takes, and what a hundred thousand interfaces with
//! ten thousand route tables take. Read from the operating system (pages that the
//! process really has), before and after. Memory that was freed before is used again
//! and then is not seen: so there is one round.

use std::fs;

use vpclab_dataplane::addr::Prefix;

use super::connections::Opened;
use super::eastwest;
use super::path;
use super::privatelink;
use super::{BenchError, Case, Depth, Done, Heap, Options, Suite, Unit, Work};
use crate::api::{
    Action, ApiError, AssociateRouteTable, Caller, ControlPlane, ControlPlaneOptions,
    CreateNetworkInterface, CreateRoute, CreateRouteTable, CreateSubnet, CreateVpc,
};
use crate::model::{Destination, RouteTargetSpec};
use crate::quotas::{Quota, Quotas};

/// The suite.
#[derive(Debug)]
pub struct Scale;

impl Suite for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn about(&self) -> &'static str {
        "memory: bytes a connection up to 10 million, and of 100 000 interfaces with 10 000 tables of 50 routes"
    }

    fn cases(&self, options: &Options) -> Vec<Case> {
        let flows: &[u64] = match (options.flows.as_slice(), options.depth) {
            ([], Depth::Smoke) => &[500],
            ([], Depth::Normal) => &[1_000_000],
            ([], Depth::Full) => &[1_000_000, 10_000_000],
            (asked, _) => asked,
        };
        let mut cases = Vec::new();
        for (name, kind) in [
            ("eastwest", Way::EastWest),
            ("privatelink", Way::PrivateLink),
        ] {
            for &flows in flows {
                let options = options.clone();
                let prepare =
                    move || Ok(Box::new(Connections::new(&options, flows, kind)) as Box<dyn Work>);
                let case = Case::new(format!("{name}-tcp4-connections/flows={flows}"), prepare);
                cases.push(
                    case.flows(flows)
                        .unit(Unit::Connection)
                        .may_allocate()
                        .once(),
                );
            }
        }
        let (interfaces, tables) = match options.depth {
            Depth::Smoke => (200, 20),
            Depth::Normal | Depth::Full => (100_000, 10_000),
        };
        let options = options.clone();
        let prepare =
            move || Ok(Box::new(Inventory::new(&options, interfaces, tables)) as Box<dyn Work>);
        let name = format!("interfaces={interfaces}/tables={tables}/routes={ROUTES}");
        cases.push(
            Case::new(name, prepare)
                .unit(Unit::Interface)
                .may_allocate()
                .once(),
        );
        cases
    }
}

/// Bytes of memory that this process has now.
fn resident() -> Result<u64, BenchError> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1_024)
        .ok_or_else(|| BenchError::NotHere(String::from("/proc/self/status names no VmRSS")))
}

/// What kind of connections.
#[derive(Clone, Copy, Debug)]
enum Way {
    EastWest,
    PrivateLink,
}

/// Many connections, open at once.
#[derive(Debug)]
struct Connections {
    options: Options,
    flows: u64,
    kind: Way,
    open: Option<Opened>,
    bytes: f64,
    table_bytes: f64,
    wrong: Option<BenchError>,
}

impl Connections {
    fn new(options: &Options, flows: u64, kind: Way) -> Self {
        Self {
            options: options.clone(),
            flows,
            kind,
            open: None,
            bytes: 0.0,
            table_bytes: 0.0,
            wrong: None,
        }
    }

    fn grew(&mut self, before: u64) -> Result<(), BenchError> {
        let grown = resident()?.saturating_sub(before) as f64;
        self.bytes = self.bytes.max(grown);
        Ok(())
    }

    fn open(&mut self) -> Result<(), BenchError> {
        // Room for exactly these: what a table reserves beyond is its owner's choice.
        let config = path::exact_config(&self.options, self.flows);
        let opened = match self.kind {
            Way::EastWest => {
                let (tables, ends) = eastwest::ends(&self.options, self.flows)?;
                let before = resident()?;
                let opened = Opened::new(config, tables, ends, path::CHECKED)?;
                self.grew(before)?;
                opened
            }
            Way::PrivateLink => {
                let lab = privatelink::lab_for(super::Kind::Tcp4, self.flows)?;
                let ends = lab.ends(self.flows);
                let before = resident()?;
                let opened = Opened::new(config, lab.tables.clone(), ends, path::CHECKED)?;
                self.grew(before)?;
                opened
            }
        };
        let sessions = &opened.driver.pipeline.connections().sessions;
        self.table_bytes = sessions.memory() as f64;
        self.open = Some(opened);
        Ok(())
    }
}

impl Work for Connections {
    fn reset(&mut self) -> Result<(), BenchError> {
        self.open = None;
        Ok(())
    }

    fn round(&mut self) -> Done {
        let opened = self.open();
        self.wrong = self.wrong.take().or(opened.err());
        Done {
            operations: self.flows,
            ..Done::default()
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let sessions = self.open.as_ref().map_or(0, |opened| {
            opened.driver.pipeline.connections().sessions.len() as u64
        });
        if sessions != self.flows {
            let what = format!("{sessions} of {} connections are open", self.flows);
            return Err(BenchError::Wrong(what));
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        let flows = self.flows as f64;
        vec![
            ("connection_resident_bytes", self.bytes / flows),
            ("connection_table_bytes", self.table_bytes / flows),
            ("resident_megabytes", self.bytes / 1e6),
        ]
    }
}

/// Routes of each table.
const ROUTES: u64 = 50;
/// Tables of a VPC.
const TABLES_PER_VPC: u64 = 100;

/// Interfaces and route tables, through the API.
#[derive(Debug)]
struct Inventory {
    options: Options,
    interfaces: u64,
    tables: u64,
    control: Option<ControlPlane>,
    bytes: f64,
    /// What the allocator counts, where it does.
    heap_bytes: f64,
    wrong: Option<BenchError>,
}

impl Inventory {
    fn new(options: &Options, interfaces: u64, tables: u64) -> Self {
        Self {
            options: options.clone(),
            interfaces,
            tables,
            control: None,
            bytes: 0.0,
            heap_bytes: 0.0,
            wrong: None,
        }
    }

    fn make(&mut self) -> Result<(), BenchError> {
        let heap = || Heap::now().map_or(0, |heap| heap.bytes);
        let (before, heap_before) = (resident()?, heap());
        let mut quotas = Quotas::default();
        for quota in Quota::ALL {
            // What AWS limits is not what is measured.
            quotas.set(*quota, 1 << 30);
        }
        let mut control = ControlPlane::new(ControlPlaneOptions {
            seed: self.options.seed,
            quotas,
            ..ControlPlaneOptions::default()
        });
        let each = self.interfaces / self.tables.max(1);
        let mut left = self.tables;
        while left > 0 {
            let tables = left.min(TABLES_PER_VPC);
            left -= tables;
            let first = self.tables - left;
            control
                .transact(&Caller::default(), |tx| vpc(tx, first, tables, each))
                .map_err(|error| BenchError::Wrong(format!("the API refused: {error}")))?;
        }
        self.bytes = self.bytes.max(resident()?.saturating_sub(before) as f64);
        self.heap_bytes = heap().saturating_sub(heap_before) as f64;
        self.control = Some(control);
        Ok(())
    }
}

/// A VPC with `tables` subnets, each with a table of its own and `each` interfaces.
fn vpc(
    tx: &mut crate::api::Transaction<'_>,
    first: u64,
    tables: u64,
    each: u64,
) -> Result<(), ApiError> {
    let block = |third: u64, len: u8| {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 | (third as u32) << 8);
        Prefix::new(address.into(), len)
    };
    let vpc = CreateVpc {
        cidr_block: block(0, 16),
        ..CreateVpc::default()
    };
    let vpc = vpc.apply(tx)?.vpc;
    for n in 0..tables {
        let subnet = CreateSubnet {
            vpc: vpc.clone(),
            cidr_block: block(n, 24),
            ..CreateSubnet::default()
        };
        let subnet = subnet.apply(tx)?;
        let mut interface = None;
        for _ in 0..each {
            let new = CreateNetworkInterface {
                subnet: subnet.clone(),
                ..CreateNetworkInterface::default()
            };
            interface = Some(new.apply(tx)?);
        }
        let name = None;
        let route_table = CreateRouteTable {
            vpc: vpc.clone(),
            name,
        }
        .apply(tx)?;
        let associate = AssociateRouteTable {
            route_table: route_table.clone(),
            subnet: Some(subnet),
            ..AssociateRouteTable::default()
        };
        associate.apply(tx)?;
        let Some(interface) = interface else { continue };
        // The local route is the first; no two tables are alike, so none is shared.
        for route in 1..ROUTES {
            let word = ((first + n) * ROUTES + route) as u32;
            let address = std::net::Ipv4Addr::from(0x1400_0000 + (word << 8));
            let destination = Prefix::new(address.into(), 24);
            let create = CreateRoute {
                route_table: route_table.clone(),
                destination: Destination::Cidr(destination.unwrap_or(Prefix::ANY_V4)),
                target: RouteTargetSpec::NetworkInterface(interface.clone()),
            };
            create.apply(tx)?;
        }
    }
    Ok(())
}

impl Work for Inventory {
    fn reset(&mut self) -> Result<(), BenchError> {
        self.control = None;
        Ok(())
    }

    fn round(&mut self) -> Done {
        let made = self.make();
        self.wrong = self.wrong.take().or(made.err());
        Done {
            operations: self.interfaces,
            ..Done::default()
        }
    }

    fn verify(&mut self, _done: &Done) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let control = self.control.as_ref();
        let control = control.ok_or_else(|| BenchError::wrong("nothing was made"))?;
        let tables = control.tables().load();
        let interfaces = tables.enis.len() as u64;
        let tables_of = tables.route_tables.iter();
        let routes: usize = tables_of.map(|(_, table)| table.winning().count()).sum();
        let expected = self.tables * ROUTES;
        // Besides, each VPC has a main table with its local route.
        if interfaces != self.interfaces || (routes as u64) < expected {
            return Err(BenchError::wrong(format!(
                "{interfaces} of {} interfaces and {routes} of {expected} routes are there",
                self.interfaces
            )));
        }
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("resident_megabytes", self.bytes / 1e6),
            ("heap_megabytes", self.heap_bytes / 1e6),
        ]
    }
}
