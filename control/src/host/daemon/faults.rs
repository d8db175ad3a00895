//! The faults of a running lab: who asked for which, and what that makes of
//! each link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::io::LinkCounters;

use super::Lab;
use crate::api::SetZoneState;
use crate::cli::CliError;
use crate::faults::{FaultRequest, HostFault, LinkDirection, LinkFaults};
use crate::host::init_client::InitClient;
use crate::host::{Context, from_model};
use crate::report::{FaultsReport, LinkReport, WayReport};

/// A link's name: host and device.
type Place = (String, String);

/// What the lab was told to disturb. Zones are the model's.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    links: BTreeMap<Place, Both>,
    hosts: BTreeMap<String, HostFault>,
}

/// Both directions of a link: from the host, and to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Both {
    up: LinkFaults,
    down: LinkFaults,
}

/// A link with its interface.
struct Link {
    place: Place,
    eni: EniId,
    id: String,
}

impl Faults {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with a host.
    pub(crate) fn of_host(&self, host: &str) -> Option<HostFault> {
        self.board().hosts.get(host).copied()
    }
}

/// Obeys.
pub(super) fn answer(lab: &Lab, request: FaultRequest) -> Result<FaultsReport, CliError> {
    match request {
        FaultRequest::Link {
            port,
            direction,
            faults,
        } => {
            for link in named(lab, &port)? {
                let mut board = lab.faults.board();
                let both = board.links.entry(link.place).or_default();
                if direction != LinkDirection::Down {
                    both.up = both.up.changed_by(&faults);
                }
                if direction != LinkDirection::Up {
                    both.down = both.down.changed_by(&faults);
                }
            }
            apply(lab)?;
        }
        FaultRequest::Zone { zone, down } => set_zone(lab, &zone, down)?,
        FaultRequest::Host { host, fault } => set_host(lab, &host, fault)?,
        FaultRequest::List => {}
        FaultRequest::Clear { port } => clear(lab, port.as_deref())?,
    }
    list(lab)
}

/// Puts the links of hosts as the topology wants them, and remembers what init
/// remembers of the hosts.
pub(super) fn start(lab: &Lab, wanted: &BTreeMap<String, LinkFaults>) -> Result<(), CliError> {
    let hosts = InitClient::connect_as_child(&lab.dir)?.status()?.faults;
    lab.faults.board().hosts = hosts;
    for link in links(lab) {
        if let Some(&faults) = wanted.get(&link.place.0) {
            let both = Both {
                up: faults,
                down: faults,
            };
            lab.faults.board().links.insert(link.place, both);
        }
    }
    apply(lab)
}

/// Puts the links of these hosts as a changed file wants them. To be applied.
pub(super) fn set_links<'a>(lab: &Lab, wanted: impl Iterator<Item = (&'a str, LinkFaults)>) {
    let all = links(lab);
    for (host, faults) in wanted {
        for link in all.iter().filter(|link| link.place.0 == host) {
            let both = Both {
                up: faults,
                down: faults,
            };
            lab.faults.board().links.insert(link.place.clone(), both);
        }
    }
}

/// Tells the worker about every link. Needed whenever links come and go, too.
pub(super) fn apply(lab: &Lab) -> Result<(), CliError> {
    let links = links(lab);
    let mut board = lab.faults.board();
    board.links.retain(|place, both| {
        *both != Both::default() && links.iter().any(|link| link.place == *place)
    });
    for link in links {
        let mut both = board.links.get(&link.place).copied().unwrap_or_default();
        if board.hosts.contains_key(&link.place.0) {
            both.up.down = Some(true);
            both.down.down = Some(true);
        }
        let scale = lab.time_scale();
        let (up, down) = (both.up.wire(scale), both.down.wire(scale));
        lab.worker.set_link(link.eni, up, down).context("link")?;
    }
    Ok(())
}

/// Every link of every host, those that are to be attached too.
fn links(lab: &Lab) -> Vec<Link> {
    let hosts = {
        let control = lab.model.control();
        let mut hosts = from_model::hosts(control.model());
        hosts.extend(from_model::foreign(control.model()));
        hosts
    };
    let of = |host: crate::host::plan::HostPlan| {
        let name = host.name;
        host.interfaces.into_iter().map(move |interface| Link {
            place: (name.clone(), interface.device),
            eni: EniId(interface.eni),
            id: interface.label,
        })
    };
    hosts.into_iter().flat_map(of).collect()
}

/// The links that `name` means: a host's, one of them (`web/eth1`), an ENI's.
fn named(lab: &Lab, name: &str) -> Result<Vec<Link>, CliError> {
    let all = links(lab);
    let names: BTreeSet<_> = all.iter().map(|link| link.place.0.clone()).collect();
    let meant = |link: &Link| {
        let (host, device) = &link.place;
        host == name || link.id == name || format!("{host}/{device}") == name
    };
    let found: Vec<_> = all.into_iter().filter(meant).collect();
    if found.is_empty() {
        let names: Vec<_> = names.into_iter().collect();
        return Err(
            CliError::usage(format!("no host or link is named `{name}`"))
                .fix(format!("one of {}; or HOST/eth1", names.join(", "))),
        );
    }
    Ok(found)
}

fn set_zone(lab: &Lab, zone: &str, down: bool) -> Result<(), CliError> {
    let mut control = lab.model.control();
    let all: BTreeSet<_> = control
        .model()
        .subnets()
        .iter()
        .map(|subnet| subnet.zone.to_string())
        .filter(|zone| zone != "internet")
        .collect();
    let found = all
        .iter()
        .find(|name| **name == zone || (zone.len() == 1 && name.ends_with(zone)));
    let Some(found) = found else {
        let all: Vec<_> = all.into_iter().collect();
        return Err(CliError::usage(format!("no subnet is in zone `{zone}`"))
            .fix(format!("one of {}", all.join(", "))));
    };
    let set = SetZoneState {
        availability_zone: found.clone(),
        down,
    };
    control
        .execute(set)
        .map_err(|error| CliError::fault(error.to_string()))
}

fn set_host(lab: &Lab, host: &str, fault: Option<HostFault>) -> Result<(), CliError> {
    if !links(lab).iter().any(|link| link.place.0 == host) {
        named(lab, host)?;
        return Err(CliError::usage(format!("`{host}` is no host")).fix("name the whole host"));
    }
    if !lab.model.hosts().iter().any(|known| known.name == host) {
        return Err(CliError::usage(format!(
            "`{host}` is not the lab's own: its programs are somebody else's"
        ))
        .fix(format!("cut its link: vpclab fault link {host} --down")));
    }
    if (lab.faults.of_host(host), fault) == (Some(HostFault::Killed), Some(HostFault::Paused)) {
        return Err(CliError::usage(format!("`{host}` is killed")).fix(format!(
            "bring it back first: vpclab fault host {host} --restore"
        )));
    }
    match fault {
        Some(fault) => lab.faults.board().hosts.insert(host.to_owned(), fault),
        None => lab.faults.board().hosts.remove(host),
    };
    // A host that comes back is on the network before its programs run.
    if fault.is_none() {
        apply(lab)?;
    }
    InitClient::connect_as_child(&lab.dir)?.set_fault(host, fault)?;
    apply(lab)
}

fn clear(lab: &Lab, port: Option<&str>) -> Result<(), CliError> {
    let (hosts, places): (BTreeSet<_>, BTreeSet<_>) = match port {
        Some(port) => {
            let links = named(lab, port)?;
            let whole = links.iter().map(|link| link.place.0.clone());
            let whole = whole.filter(|host| host == port).collect();
            (whole, links.into_iter().map(|link| link.place).collect())
        }
        None => {
            let board = lab.faults.board();
            (
                board.hosts.keys().cloned().collect(),
                board.links.keys().cloned().collect(),
            )
        }
    };
    for host in hosts {
        if lab.faults.of_host(&host).is_some() {
            set_host(lab, &host, None)?;
        }
    }
    lab.faults
        .board()
        .links
        .retain(|place, _| !places.contains(place));
    if port.is_none() {
        let down: Vec<_> = lab.model.control().model().zones_down().cloned().collect();
        for zone in down {
            set_zone(lab, &zone, false)?;
        }
    }
    apply(lab)
}

fn list(lab: &Lab) -> Result<FaultsReport, CliError> {
    let counters = lab.worker.links().context("links")?;
    let counters: BTreeMap<_, _> = counters
        .into_iter()
        .map(|(eni, up, down)| (eni, [up, down]))
        .collect();
    let all = links(lab);
    let board = lab.faults.board();
    let links: Vec<_> = board
        .links
        .iter()
        .filter_map(|((host, device), both)| {
            let link = all
                .iter()
                .find(|link| link.place.0 == *host && link.place.1 == *device)?;
            let [up, down] = counters.get(&link.eni).copied().unwrap_or_default();
            let way = |faults, counters: LinkCounters| WayReport {
                faults,
                counters: counters.into(),
            };
            Some(LinkReport {
                host: host.clone(),
                device: device.clone(),
                eni: link.id.clone(),
                up: way(both.up, up),
                down: way(both.down, down),
            })
        })
        .collect();
    let control = lab.model.control();
    let zones = control.model().zones_down();
    Ok(FaultsReport {
        links,
        hosts: board.hosts.clone(),
        zones_down: zones.map(ToString::to_string).collect(),
    })
}
