//! Frames of a capture file: pcap, or pcapng as `vpclab capture` writes it.

use std::io;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use vpclab_dataplane::time::Duration;

/// A frame and its time after the capture's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Since the first frame.
    pub after: Duration,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// Block type of a pcapng section header, the same in both byte orders.
const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// `epb_flags`: the direction's bits, and "inbound": what a host received.
const DIRECTION: u32 = 0b11;
const INBOUND: u32 = 0b01;
/// `if_tsresol` unless a file says otherwise: microseconds.
const MICROSECONDS: u8 = 6;

/// Reads all frames that were sent: those marked as received are left out.
///
/// # Errors
/// A file that is no capture of Ethernet frames.
pub fn read(bytes: &[u8]) -> io::Result<Vec<Recorded>> {
    if bytes.get(..4) == Some(&SECTION_HEADER) {
        return read_ng(bytes);
    }
    let frames = crate::lab::read_pcap(bytes)?.into_iter();
    Ok(frames
        .map(|(after, bytes)| Recorded { after, bytes })
        .collect())
}

fn read_ng(bytes: &[u8]) -> io::Result<Vec<Recorded>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut reader = PcapNgReader::new(bytes).map_err(|error| invalid(error.to_string()))?;
    let mut resolutions = Vec::new();
    let mut frames = Vec::new();
    let mut first = None;
    while let Some(block) = reader.next_block() {
        match block.map_err(|error| invalid(error.to_string()))? {
            Block::InterfaceDescription(interface) => {
                if interface.linktype != DataLink::ETHERNET {
                    let link = interface.linktype;
                    return Err(invalid(format!("link type {link:?} is not Ethernet")));
                }
                let resolution = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
                    _ => None,
                });
                resolutions.push(resolution.unwrap_or(MICROSECONDS));
            }
            Block::EnhancedPacket(packet) => {
                let flags = packet.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Flags(flags) => Some(*flags),
                    _ => None,
                });
                if flags.is_some_and(|flags| flags & DIRECTION == INBOUND) {
                    continue;
                }
                let interface = resolutions.get(packet.interface_id as usize).copied();
                let units = packet.timestamp.as_nanos();
                let at = nanoseconds(units, interface.unwrap_or(MICROSECONDS));
                let first = *first.get_or_insert(at);
                frames.push(Recorded {
                    after: Duration::from_nanos(at.saturating_sub(first)),
                    bytes: packet.data.into_owned(),
                });
            }
            _ => {}
        }
    }
    Ok(frames)
}

/// The reader hands raw counts out as if each were a nanosecond.
fn nanoseconds(units: u128, resolution: u8) -> u64 {
    let nanoseconds = if resolution & 0x80 == 0 {
        let per_unit = 10u128.saturating_pow(9u32.saturating_sub(u32::from(resolution)));
        let too_fine = 10u128.saturating_pow(u32::from(resolution).saturating_sub(9));
        units.saturating_mul(per_unit) / too_fine.max(1)
    } else {
        // Powers of two: the low bits are a fraction of a second.
        let bits = u32::from(resolution & 0x7f).min(64);
        units.saturating_mul(1_000_000_000) >> bits
    };
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
