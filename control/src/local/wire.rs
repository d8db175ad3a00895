//! Frames in and out of the services.

use vpclab_dataplane::packet::checksum;
use vpclab_dataplane::packet::{
    Checksum, ETHERNET_LEN, Endpoints, Frame, Headers, TTL_DEFAULT, parse_ip, protocol, put_ip,
};

use super::End;
use super::asker::Asker;

const UDP_LEN: usize = 8;

/// The headers of a frame whose packet is whole and right. A checksum that was
/// left to the card is finished first.
pub(super) fn read(frame: &mut Frame) -> Option<Headers> {
    checksum::complete_partial(frame).ok()?;
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).ok()?;
    let trusted = frame.offload.checksum == Checksum::Verified;
    (trusted || checksum::verify_transport(frame.bytes(), &headers)).then_some(headers)
}

/// A datagram to the host of whoever asked, from the router's MAC address.
pub(super) fn datagram(asker: &Asker<'_>, from: End, to: End, payload: &[u8]) -> Option<Frame> {
    let subnet = asker.tables.subnets.row(asker.row.subnet)?;
    let len = UDP_LEN + payload.len();
    let mut frame = Frame::with_capacity(ETHERNET_LEN + 40 + len);
    frame.port = asker.eni;
    let ends = Endpoints {
        src_mac: subnet.router_mac,
        dst_mac: asker.row.mac,
        src: from.0,
        dst: to.0,
    };
    put_ip(&mut frame, &ends, protocol::UDP, TTL_DEFAULT, len);
    frame.extend(&from.1.to_be_bytes());
    frame.extend(&to.1.to_be_bytes());
    frame.extend(&u16::try_from(len).ok()?.to_be_bytes());
    frame.extend(&[0, 0]);
    frame.extend(payload);
    let headers = parse_ip(frame.bytes(), ETHERNET_LEN).ok()?;
    checksum::fill_transport(frame.bytes_mut(), &headers);
    frame.offload.checksum = Checksum::Verified;
    Some(frame)
}
