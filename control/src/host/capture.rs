//! Captured frames as pcapng, with verdicts as packet comments.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::packet::Frame;
use vpclab_dataplane::packet::checksum::complete_partial;
use vpclab_dataplane::time::Instant;
use vpclab_dataplane::worker::{CaptureEvent, Clock, Direction};

use super::{Context, HostError};

/// `if_tsresol`: 10^-9 seconds.
const NANOSECONDS: u8 = 9;
/// `epb_flags`: seen from the host.
const FLAG_INBOUND: u32 = 1;
const FLAG_OUTBOUND: u32 = 2;
/// No frame is cut.
const SNAP_LEN: u32 = 0;

/// Writes events as they come; an interface is described before its first.
pub struct CaptureWriter<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: HashMap<EniId, u32>,
    clock: Clock,
    /// Wall-clock time of the worker clock's origin.
    origin: Duration,
}

impl<W: Write> CaptureWriter<W> {
    /// Starts a capture of events timed by `clock`.
    pub fn new(out: W, clock: Clock) -> Result<Self, HostError> {
        Ok(Self {
            writer: PcapNgWriter::new(out).context("capture")?,
            interfaces: HashMap::new(),
            clock,
            origin: origin_of(clock),
        })
    }

    /// Writes one event; `name` describes its interface, `comment` says why it
    /// was dropped, if it was.
    pub fn write(
        &mut self,
        event: CaptureEvent,
        comment: Option<String>,
        name: impl FnOnce(EniId) -> String,
    ) -> Result<(), HostError> {
        let interface_id = self.interface(event.eni, name)?;
        let flags = match event.direction {
            Direction::Received => FLAG_OUTBOUND,
            Direction::Transmitted => FLAG_INBOUND,
        };
        let mut options = Vec::new();
        if let Some(comment) = comment {
            options.push(EnhancedPacketOption::Comment(Cow::Owned(comment)));
        }
        options.push(EnhancedPacketOption::Flags(flags));
        let mut frame = Frame::from_bytes(event.eni, &event.bytes);
        frame.offload = event.offload;
        // What cannot be completed is shown as it is.
        let _ = complete_partial(&mut frame);
        let data = frame.bytes();
        let packet = EnhancedPacketBlock {
            interface_id,
            timestamp: self.origin + since_origin(self.clock, event.at),
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(data),
            options,
        };
        self.write_block(packet)
    }

    fn interface(
        &mut self,
        eni: EniId,
        name: impl FnOnce(EniId) -> String,
    ) -> Result<u32, HostError> {
        if let Some(&id) = self.interfaces.get(&eni) {
            return Ok(id);
        }
        self.write_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: SNAP_LEN,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Owned(name(eni))),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
        let id = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert(eni, id);
        Ok(id)
    }

    fn write_block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> Result<(), HostError> {
        self.writer
            .write_block(&block.into_block())
            .context("capture")?;
        Ok(())
    }

    /// The writer below.
    pub fn get_mut(&mut self) -> &mut W {
        self.writer.get_mut()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a capture names the time of day; nothing is decided by it"
)]
pub(crate) fn origin_of(clock: Clock) -> Duration {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since_epoch.saturating_sub(since_origin(clock, clock.now()))
}

/// By our time, however fast the lab's clock runs.
pub(crate) fn since_origin(clock: Clock, at: Instant) -> Duration {
    Duration::from_nanos(clock.real(at.since(Instant::ZERO)).as_nanos())
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};
    use vpclab_dataplane::drop::DropReason;
    use vpclab_dataplane::packet::Offload;

    use super::*;

    #[test]
    fn a_dropped_frame_says_why_in_its_comment() {
        let mut bytes = Vec::new();
        let mut writer = CaptureWriter::new(&mut bytes, Clock::start()).unwrap();
        for dropped in [None, Some(DropReason::NoRoute)] {
            let event = CaptureEvent {
                at: Instant::from_nanos(1_234_567_891),
                eni: EniId(7),
                direction: Direction::Received,
                dropped,
                offload: Offload::default(),
                bytes: vec![1; 60],
            };
            let comment = dropped.map(|reason| format!("dropped: {}", reason.name()));
            let name = |eni| format!("eni {eni:?}");
            writer.write(event, comment, name).unwrap();
        }
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut comments = Vec::new();
        let mut interfaces = 0;
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(_) => interfaces += 1,
                Block::EnhancedPacket(packet) => {
                    let comment = packet.options.iter().find_map(|option| match option {
                        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                        _ => None,
                    });
                    comments.push((packet.data.len(), comment));
                }
                _ => {}
            }
        }
        assert_eq!(interfaces, 1);
        assert_eq!(comments[0], (60, None));
        assert!(comments[1].1.as_ref().unwrap().contains("route.none"));
    }
}
