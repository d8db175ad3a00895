//! A capture as lines of text: one per packet.

use std::borrow::Cow;
use std::io::Read;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::{Block, PcapNgReader};

use super::{CliError, Exit};

/// Prints packets until the stream ends.
pub(super) fn print(stream: impl Read) -> Result<Exit, CliError> {
    let fault = |error: pcap_file::PcapError| CliError::fault(format!("capture: {error}"));
    let mut reader = PcapNgReader::new(stream).map_err(fault)?;
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.map_err(fault)? {
            super::print(&line(&packet))?;
        }
    }
    Ok(Exit::Ok)
}

fn line(packet: &EnhancedPacketBlock<'_>) -> String {
    let (mut way, mut comment) = ("?", None);
    for option in &packet.options {
        match option {
            // Seen from the host: inbound is 1, outbound is 2.
            EnhancedPacketOption::Flags(flags) => way = if flags & 3 == 1 { "<" } else { ">" },
            EnhancedPacketOption::Comment(text) => comment = Some(text),
            _ => {}
        }
    }
    let time = packet.timestamp;
    let seconds = time.as_secs() % 86_400;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let micros = time.subsec_micros();
    let what = describe(&packet.data);
    let note = comment.map_or(Cow::Borrowed(""), |text| Cow::Owned(format!("  [{text}]")));
    format!("{hours:02}:{minutes:02}:{seconds:02}.{micros:06} {way} {what}{note}\n")
}

fn describe(frame: &[u8]) -> String {
    let len = frame.len();
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return format!("undecodable, {len} bytes");
    };
    let (src, dst) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().source_addr().to_string(),
            ip.header().destination_addr().to_string(),
        ),
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().source_addr().to_string(),
            ip.header().destination_addr().to_string(),
        ),
        Some(NetSlice::Arp(_)) => return format!("ARP, {len} bytes"),
        None => return format!("not IP, {len} bytes"),
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let flags: String = [
                (tcp.syn(), 'S'),
                (tcp.fin(), 'F'),
                (tcp.rst(), 'R'),
                (tcp.psh(), 'P'),
                (tcp.ack(), '.'),
            ]
            .iter()
            .filter_map(|&(set, letter)| set.then_some(letter))
            .collect();
            let (sport, dport) = (tcp.source_port(), tcp.destination_port());
            format!("TCP {src}.{sport} > {dst}.{dport} [{flags}], {len} bytes")
        }
        Some(TransportSlice::Udp(udp)) => {
            let (sport, dport) = (udp.source_port(), udp.destination_port());
            format!("UDP {src}.{sport} > {dst}.{dport}, {len} bytes")
        }
        Some(TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_)) => {
            format!("ICMP {src} > {dst}, {len} bytes")
        }
        _ => format!("IP {src} > {dst}, {len} bytes"),
    }
}
