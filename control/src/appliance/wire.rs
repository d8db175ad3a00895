//! The few header fields that appliances and simulated nodes read and write.

use std::net::SocketAddrV4;

/// The ones' complement sum of `bytes`, folded, not complemented.
pub(crate) fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = u64::from(start);
    let (words, rest) = bytes.as_chunks::<2>();
    for word in words {
        sum += u64::from(u16::from_be_bytes(*word));
    }
    if let [last] = rest {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Writes the checksum of an IPv4 header (exactly the header's bytes).
pub(crate) fn fill_ipv4_checksum(header: &mut [u8]) {
    if header.len() < 20 {
        return;
    }
    if let Some(field) = header.get_mut(10..12) {
        field.fill(0);
    }
    let checksum = !sum(header, 0);
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

/// An IPv4 packet with one UDP datagram, as an appliance sends it: don't
/// fragment, TTL 64, no UDP checksum (the tunnel's packets go without).
pub(crate) fn udp_packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let udp_len = 8 + payload.len();
    let total = 20 + udp_len;
    let mut packet = Vec::with_capacity(total);
    packet.extend_from_slice(&[0x45, 0]);
    packet.extend_from_slice(&(total as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    fill_ipv4_checksum(&mut packet);
    for field in [from.port(), to.port(), udp_len as u16, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_reference_packet() {
        // Packet A of the GENEVE reference, outer header.
        let mut header = [
            0x45, 0, 0, 0x70, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 10, 100, 0, 10, 10, 100, 0, 20,
        ];
        fill_ipv4_checksum(&mut header);
        assert_eq!(header[10..12], [0x25, 0x98]);
    }

    #[test]
    fn the_reply_to_packet_a_is_packet_b() {
        let payload = super::super::core::tests::bytes(super::super::core::tests::PACKET_A);
        let from = "10.100.0.20:60033".parse().unwrap();
        let packet = udp_packet(from, "10.100.0.10:6081".parse().unwrap(), &payload);
        let head = "4500007000004000401125980a6400140a64000aea8117c1005c0000";
        assert_eq!(packet[..28], super::super::core::tests::bytes(head));
        assert_eq!(packet.len(), 112);
    }
}
