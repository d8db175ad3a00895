//! What passed an interface, and when: packet-level assertions and pcap files.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};
use vpclab_dataplane::time::{Duration, Instant};

/// Seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The host sent it.
    Sent,
    /// The host received it.
    Received,
}

/// One frame that passed an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// The most recent frames of one interface, up to [`RECORD_BYTES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Record {
    frames: VecDeque<Recorded>,
    bytes: usize,
    off: bool,
}

/// How much of each interface's traffic is kept.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

impl Record {
    pub(crate) fn push(&mut self, at: Instant, direction: Direction, bytes: &[u8]) {
        if self.off {
            return;
        }
        self.bytes += bytes.len();
        self.frames.push_back(Recorded {
            at,
            direction,
            bytes: bytes.to_vec(),
        });
        while self.bytes > RECORD_BYTES_MAX {
            let Some(old) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= old.bytes.len();
        }
    }

    pub(crate) fn set_off(&mut self, off: bool) {
        self.off = off;
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Recorded> {
        self.frames.iter()
    }
}

/// Frames to be written as a pcap file.
#[derive(Clone, Debug)]
pub struct Capture {
    frames: Vec<Recorded>,
}

impl Capture {
    /// A capture of these frames, the oldest first.
    pub fn of(frames: Vec<Recorded>) -> Self {
        Self::new(frames)
    }

    pub(crate) fn new(frames: Vec<Recorded>) -> Self {
        Self { frames }
    }

    /// The frames, oldest first.
    pub fn frames(&self) -> &[Recorded] {
        &self.frames
    }

    /// The capture as a pcap file's bytes, with nanosecond times.
    pub fn to_pcap(&self) -> std::io::Result<Vec<u8>> {
        let header = PcapHeader {
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).map_err(io_error)?;
        for frame in &self.frames {
            let at = std::time::Duration::from_nanos(frame.at.as_nanos());
            let len = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
            let packet = PcapPacket::new(at, len, &frame.bytes);
            writer.write_packet(&packet).map_err(io_error)?;
        }
        Ok(writer.into_writer())
    }

    /// Writes a pcap file.
    pub fn write(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        std::fs::File::create(path)?.write_all(&self.to_pcap()?)
    }
}

/// The frames of a pcap file, each with its time after the first one.
pub(crate) fn read_pcap(bytes: &[u8]) -> std::io::Result<Vec<(Duration, Vec<u8>)>> {
    let mut reader = PcapReader::new(bytes).map_err(io_error)?;
    let link = reader.header().datalink;
    if link != DataLink::ETHERNET {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("the capture's link type is {link:?}, not Ethernet"),
        ));
    }
    let mut frames = Vec::new();
    let mut first = None;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(io_error)?;
        let first = *first.get_or_insert(packet.timestamp);
        let after = packet.timestamp.saturating_sub(first);
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        frames.push((Duration::from_nanos(nanos), packet.data.into_owned()));
    }
    Ok(frames)
}

fn io_error(error: pcap_file::PcapError) -> std::io::Error {
    match error {
        pcap_file::PcapError::IoError(error) => error,
        other => std::io::Error::new(std::io::ErrorKind::InvalidData, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_reads_back_as_it_was_written() {
        let frame = |ns, byte| Recorded {
            at: Instant::from_nanos(ns),
            direction: Direction::Sent,
            bytes: vec![byte; 60],
        };
        let capture = Capture::new(vec![frame(1_000_000_123, 1), frame(1_000_000_323, 2)]);
        let read = read_pcap(&capture.to_pcap().unwrap()).unwrap();
        assert_eq!(
            read,
            [
                (Duration::ZERO, vec![1; 60]),
                (Duration::from_nanos(200), vec![2; 60])
            ]
        );
        assert!(read_pcap(b"not a capture").is_err());
    }

    #[test]
    fn the_record_is_bounded() {
        let mut record = Record::default();
        let frame = vec![0; 1 << 20];
        for n in 0..40 {
            record.push(Instant::from_secs(n), Direction::Sent, &frame);
        }
        assert_eq!(record.frames().count(), RECORD_BYTES_MAX / frame.len());
        assert_eq!(record.frames().last().unwrap().at, Instant::from_secs(39));
    }
}
