//! DHCPv4: every host is offered what its interface has, and nothing else.
//!
//! AWS: VPC "DHCP option sets" (defaults: AmazonProvidedDNS, the region's
//! domain); server `.1`, lease 3600 s and MTU 9001 as observed
//! (`aws-behaviour.md` §1.4). RFC 2131, RFC 2132.

use std::net::{IpAddr, Ipv4Addr};

use vpclab_dataplane::walk::RESOLVER_V4;

use super::End;
use super::asker::Asker;
use crate::model::{NameServer, private_name};

/// ASSUMPTION: renewals are seen at about 1800 s.
const LEASE_S: u32 = 3600;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const OPTIONS_AT: usize = 240;
/// Shortest message that clients must take (RFC 951's 300 bytes).
const LEN_MIN: usize = 300;

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

mod code {
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const DNS: u8 = 6;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const BROADCAST: u8 = 28;
    pub(super) const NTP: u8 = 42;
    pub(super) const NETBIOS_SERVERS: u8 = 44;
    pub(super) const NETBIOS_NODE: u8 = 46;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const END: u8 = 255;
}

mod kind {
    pub(super) const DISCOVER: u8 = 1;
    pub(super) const OFFER: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const ACK: u8 = 5;
    pub(super) const NAK: u8 = 6;
    pub(super) const INFORM: u8 = 8;
}

/// An answer: where it goes, and whether by a broadcast frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) bytes: Vec<u8>,
}

/// What the interface's host is told.
struct Lease {
    address: Ipv4Addr,
    server: Ipv4Addr,
    options: Vec<(u8, Vec<u8>)>,
}

impl Lease {
    fn of(asker: &Asker<'_>) -> Option<Self> {
        let address = asker.interface.primary()?;
        let subnet = asker.model.get(&asker.interface.subnet)?;
        let nth = |n| match subnet.cidr.nth(n) {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        };
        let server = nth(1)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(subnet.cidr.len()));
        let IpAddr::V4(broadcast) = subnet.cidr.last() else {
            return None;
        };
        let region = &asker.vpc.meta.region;
        let name = private_name(address, region);
        let host = name.split('.').next().unwrap_or_default();
        let mtu = u16::try_from(asker.interface.mtu).unwrap_or(u16::MAX);
        let octets = |address: Ipv4Addr| address.octets().to_vec();
        let mut options = vec![
            (code::LEASE, LEASE_S.to_be_bytes().to_vec()),
            (code::RENEW, (LEASE_S / 2).to_be_bytes().to_vec()),
            (code::REBIND, (LEASE_S / 8 * 7).to_be_bytes().to_vec()),
            (code::MASK, mask.unwrap_or(0).to_be_bytes().to_vec()),
            (code::BROADCAST, octets(broadcast)),
            (code::ROUTER, octets(server)),
            (code::HOST_NAME, host.as_bytes().to_vec()),
            (code::MTU, mtu.to_be_bytes().to_vec()),
        ];
        options.extend(of_vpc(asker));
        Some(Self {
            address,
            server,
            options,
        })
    }
}

/// What the VPC's set of DHCP options says; without a set, hosts get the
/// resolver on their link (V:DHCPOptionSetConcepts).
fn of_vpc(asker: &Asker<'_>) -> Vec<(u8, Vec<u8>)> {
    let Some(set) = asker.model.dhcp_options_of(&asker.vpc.id) else {
        return vec![(code::DNS, RESOLVER_V4.octets().to_vec())];
    };
    let values = &set.values;
    let own = asker.tables.vpcs.row(asker.row.vpc);
    let own = own.and_then(|vpc| vpc.resolver());
    let servers = values.domain_name_servers.iter();
    let servers = servers.filter_map(|server| match server {
        NameServer::Amazon => own,
        NameServer::At(address) => Some(*address),
    });
    let lists = [
        (code::DNS, octets_of(servers)),
        (code::NTP, octets_of(values.ntp_servers.iter().copied())),
        (
            code::NETBIOS_SERVERS,
            octets_of(values.netbios_name_servers.iter().map(|&it| it.into())),
        ),
        (
            code::NETBIOS_NODE,
            values.netbios_node_type.into_iter().collect(),
        ),
    ];
    let domain = values.domain_name.as_ref();
    let domain = domain.map(|name| (code::DOMAIN, name.as_bytes().to_vec()));
    let lists = lists.into_iter().filter(|(_, value)| !value.is_empty());
    domain.into_iter().chain(lists).collect()
}

fn octets_of(addresses: impl Iterator<Item = IpAddr>) -> Vec<u8> {
    let fours = addresses.filter_map(|address| match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    fours.flatten().collect()
}

/// The answer to a client's message; none where a server stays silent.
pub(super) fn answer(asker: &Asker<'_>, asked: &[u8]) -> Option<Answer> {
    let head = asked.first_chunk::<OPTIONS_AT>()?;
    let own_card = head[..3] == [1, 1, 6] && head[28..34] == asker.interface.mac.0;
    if !own_card || head[236..] != MAGIC {
        return None;
    }
    let option = |wanted| options(asked.get(OPTIONS_AT..)?).find(|(code, _)| *code == wanted);
    let address = |wanted| {
        let (_, value) = option(wanted)?;
        Some(Ipv4Addr::from(*value.first_chunk::<4>()?))
    };
    let lease = Lease::of(asker)?;
    if address(code::SERVER).is_some_and(|server| server != lease.server) {
        return None;
    }
    let own = Ipv4Addr::from([head[12], head[13], head[14], head[15]]);
    let kind = match option(code::KIND)?.1.first().copied()? {
        kind::DISCOVER => kind::OFFER,
        kind::REQUEST if address(code::REQUESTED).unwrap_or(own) == lease.address => kind::ACK,
        kind::REQUEST => kind::NAK,
        kind::INFORM => kind::INFORM,
        _ => return None,
    };
    let informs = kind == kind::INFORM;
    let mut bytes = head.to_vec();
    bytes[0] = 2;
    bytes[3] = 0; // Hops.
    bytes[8..10].fill(0); // Seconds.
    bytes[16..28].fill(0);
    bytes[44..236].fill(0);
    if matches!(kind, kind::OFFER | kind::ACK) {
        bytes[16..20].copy_from_slice(&lease.address.octets());
    }
    let say = if informs { kind::ACK } else { kind };
    put(&mut bytes, code::KIND, &[say]);
    put(&mut bytes, code::SERVER, &lease.server.octets());
    if kind != kind::NAK {
        for (code, value) in &lease.options {
            // Who has an address gets no lease of it.
            let of_lease = matches!(*code, code::LEASE | code::RENEW | code::REBIND);
            if !(informs && of_lease) {
                put(&mut bytes, *code, value);
            }
        }
    }
    bytes.push(code::END);
    bytes.resize(bytes.len().max(LEN_MIN), 0);
    let wants_broadcast = head[10] & 0x80 != 0 || kind == kind::NAK;
    let to = match own.is_unspecified() {
        true if wants_broadcast => Ipv4Addr::BROADCAST,
        true => lease.address,
        false => own,
    };
    Some(Answer {
        from: (lease.server.into(), SERVER_PORT),
        to: (to.into(), CLIENT_PORT),
        bytes,
    })
}

fn put(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    // No value here is longer than a name of DNS.
    let len = value.len().min(255);
    bytes.extend([code, len as u8]);
    bytes.extend(value.iter().take(len));
}

/// Options up to the end, or to where they are cut off.
fn options(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        while let [0, more @ ..] = rest {
            rest = more;
        }
        let [code, len, more @ ..] = rest else {
            return None;
        };
        let (value, more) = more.split_at_checked(usize::from(*len))?;
        rest = more;
        (*code != code::END).then_some((*code, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::testing::{LAB, ask};

    fn message(kind: u8, own: [u8; 4], options: &[u8]) -> Vec<u8> {
        let lab = LAB.control();
        let mac = crate::local::testing::interface(&lab, "a").mac;
        let mut bytes = vec![0; OPTIONS_AT];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(b"xid!");
        bytes[12..16].copy_from_slice(&own);
        bytes[28..34].copy_from_slice(&mac.0);
        bytes[236..].copy_from_slice(&MAGIC);
        bytes.extend([code::KIND, 1, kind]);
        bytes.extend(options);
        bytes.push(code::END);
        bytes
    }

    fn answered(asked: &[u8]) -> Option<Answer> {
        ask(&LAB.control(), "a", |asker| answer(asker, asked))
    }

    fn value(answer: &Answer, wanted: u8) -> Option<Vec<u8>> {
        let mut all = options(&answer.bytes[OPTIONS_AT..]);
        all.find(|(code, _)| *code == wanted)
            .map(|(_, value)| value.to_vec())
    }

    #[test]
    fn a_host_is_offered_what_its_interface_has() {
        let offer = answered(&message(kind::DISCOVER, [0; 4], &[])).unwrap();
        assert_eq!(offer.to, ([10, 0, 1, 10].into(), 68));
        assert_eq!(offer.from, ([10, 0, 1, 1].into(), 67));
        assert_eq!(offer.bytes[..8], *b"\x02\x01\x06\x00xid!");
        assert_eq!(offer.bytes[16..20], [10, 0, 1, 10]);
        for (code, wanted) in [
            (code::KIND, vec![kind::OFFER]),
            (code::SERVER, vec![10, 0, 1, 1]),
            (code::MASK, vec![255, 255, 255, 0]),
            (code::ROUTER, vec![10, 0, 1, 1]),
            (code::DNS, vec![10, 0, 0, 2]),
            (code::DOMAIN, b"ec2.internal".to_vec()),
            (code::HOST_NAME, b"ip-10-0-1-10".to_vec()),
            (code::MTU, 9001u16.to_be_bytes().to_vec()),
            (code::LEASE, 3600u32.to_be_bytes().to_vec()),
        ] {
            assert_eq!(value(&offer, code), Some(wanted), "option {code}");
        }
    }

    #[test]
    fn its_own_address_is_granted_any_other_refused() {
        let own = [code::REQUESTED, 4, 10, 0, 1, 10];
        let ack = answered(&message(kind::REQUEST, [0; 4], &own)).unwrap();
        assert_eq!(value(&ack, code::KIND), Some(vec![kind::ACK]));
        // A renewal names it elsewhere, and goes by unicast.
        let ack = answered(&message(kind::REQUEST, [10, 0, 1, 10], &[])).unwrap();
        assert_eq!(value(&ack, code::KIND), Some(vec![kind::ACK]));

        let other = [code::REQUESTED, 4, 10, 0, 1, 11];
        let nak = answered(&message(kind::REQUEST, [0; 4], &other)).unwrap();
        assert_eq!(value(&nak, code::KIND), Some(vec![kind::NAK]));
        assert_eq!(value(&nak, code::LEASE), None);
        assert_eq!(nak.to.0, Ipv4Addr::BROADCAST);

        let elsewhere = [code::SERVER, 4, 10, 0, 1, 77];
        assert_eq!(answered(&message(kind::REQUEST, [0; 4], &elsewhere)), None);
    }

    #[test]
    fn who_informs_gets_options_and_no_lease() {
        let ack = answered(&message(kind::INFORM, [10, 0, 1, 10], &[])).unwrap();
        assert_eq!(value(&ack, code::KIND), Some(vec![kind::ACK]));
        assert_eq!(value(&ack, code::LEASE), None);
        assert!(value(&ack, code::DNS).is_some());
        assert_eq!(ack.bytes[16..20], [0; 4]);
    }

    #[test]
    fn others_cards_and_broken_messages_get_nothing() {
        let whole = message(kind::DISCOVER, [0; 4], &[]);
        let mut foreign = whole.clone();
        foreign[33] ^= 1;
        assert_eq!(answered(&foreign), None);
        for len in 0..OPTIONS_AT + 3 {
            assert_eq!(answered(&whole[..len]), None, "{len}");
        }
        let mut reply = whole;
        reply[0] = 2;
        assert_eq!(answered(&reply), None);
    }
}
