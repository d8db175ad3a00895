//! The few header fields that appliances and simulated nodes read and write.

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
}
