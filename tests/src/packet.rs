//! Hand-made packets, and packets seen, with every checksum proved.

use std::net::IpAddr;

use vpclab::lab::{Host, Recorded};
use vpclab_dataplane::addr::Mac;
use vpclab_dataplane::packet::{
    ETHERNET_LEN, Endpoints, Frame, FramePool, Headers, checksum, fragment_ipv4, parse_ip,
    protocol, put_ip, tcp_flag,
};

/// A packet to be sent.
#[derive(Clone, Debug)]
pub struct Packet {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    sport: u16,
    dport: u16,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    ttl: u8,
    mss: Option<u16>,
    may_fragment: bool,
    payload: Vec<u8>,
}

impl Packet {
    fn new(protocol: u8, src: impl ToString, dst: impl ToString) -> Self {
        let (src, sport) = endpoint(&src.to_string());
        let (dst, dport) = endpoint(&dst.to_string());
        Self {
            src,
            dst,
            protocol,
            sport,
            dport,
            flags: 0,
            sequence: 1000,
            acknowledgement: 0,
            ttl: 64,
            mss: None,
            may_fragment: false,
            payload: Vec::new(),
        }
    }

    /// A SYN between `address:port` texts.
    pub fn syn(src: impl ToString, dst: impl ToString) -> Self {
        Self::new(protocol::TCP, src, dst).flags(tcp_flag::SYN)
    }

    /// A TCP segment with ACK set.
    pub fn ack(src: impl ToString, dst: impl ToString) -> Self {
        Self::new(protocol::TCP, src, dst).flags(tcp_flag::ACK)
    }

    /// A UDP datagram.
    pub fn udp(src: impl ToString, dst: impl ToString) -> Self {
        Self::new(protocol::UDP, src, dst)
    }

    /// An echo request; what would be the source port is its identifier.
    pub fn ping(src: impl ToString, dst: impl ToString) -> Self {
        let packet = Self::new(protocol::ICMP, src, dst);
        let v6 = packet.dst.is_ipv6();
        Self {
            protocol: if v6 { protocol::ICMPV6 } else { protocol::ICMP },
            ..packet
        }
    }

    /// A packet of another IP protocol, without a transport header.
    pub fn other(protocol: u8, src: impl ToString, dst: impl ToString) -> Self {
        Self::new(protocol, src, dst)
    }

    /// With these TCP flags.
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    /// With this TCP sequence number.
    #[must_use]
    pub fn sequence(self, sequence: u32) -> Self {
        Self { sequence, ..self }
    }

    /// With this TCP acknowledgement number.
    #[must_use]
    pub fn acknowledges(self, acknowledgement: u32) -> Self {
        Self {
            acknowledgement,
            ..self
        }
    }

    /// With this TTL or hop limit.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// With this maximum segment size as an option (TCP).
    #[must_use]
    pub fn mss(self, mss: u16) -> Self {
        Self {
            mss: Some(mss),
            ..self
        }
    }

    /// Without DF (IPv4).
    #[must_use]
    pub fn may_fragment(self) -> Self {
        Self {
            may_fragment: true,
            ..self
        }
    }

    /// With this payload.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Self {
        Self {
            payload: payload.to_vec(),
            ..self
        }
    }

    /// Padded so that the IP packet has `len` bytes.
    #[must_use]
    pub fn ip_len(mut self, len: usize) -> Self {
        let ip = if self.src.is_ipv4() { 20 } else { 40 };
        self.payload
            .resize(len - ip - self.transport_header().len(), b'x');
        self
    }

    fn transport_header(&self) -> Vec<u8> {
        let (sport, dport) = (self.sport.to_be_bytes(), self.dport.to_be_bytes());
        match self.protocol {
            protocol::TCP => {
                let mut header = vec![0; 20];
                header[..2].copy_from_slice(&sport);
                header[2..4].copy_from_slice(&dport);
                header[4..8].copy_from_slice(&self.sequence.to_be_bytes());
                header[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
                header[12] = 0x50;
                header[13] = self.flags;
                header[14..16].copy_from_slice(&[0xff, 0xff]);
                if let Some(mss) = self.mss {
                    header[12] = 0x60;
                    header.extend([2, 4]);
                    header.extend(mss.to_be_bytes());
                }
                header
            }
            protocol::UDP => {
                let len = (8 + self.payload.len() as u16).to_be_bytes();
                // A zero checksum would mean that there is none.
                [&sport[..], &dport, &len, &[0, 1]].concat()
            }
            protocol::ICMP => [&[8, 0, 0, 0][..], &sport, &[0, 1]].concat(),
            protocol::ICMPV6 => [&[128, 0, 0, 0][..], &sport, &[0, 1]].concat(),
            _ => Vec::new(),
        }
    }

    /// The frame from one MAC address to another.
    ///
    /// # Panics
    /// If the packet does not fit an IP packet.
    pub fn frame(&self, from: Mac, to: Mac) -> Vec<u8> {
        let header = self.transport_header();
        let mut frame = Frame::with_capacity(128 + self.payload.len());
        let ends = Endpoints {
            src_mac: from,
            dst_mac: to,
            src: self.src,
            dst: self.dst,
        };
        let len = header.len() + self.payload.len();
        put_ip(&mut frame, &ends, self.protocol, self.ttl, len);
        frame.extend(&header);
        frame.extend(&self.payload);
        let headers = parse_ip(frame.bytes(), ETHERNET_LEN).unwrap();
        checksum::fill_transport(frame.bytes_mut(), &headers);
        let mut bytes = frame.bytes().to_vec();
        if self.may_fragment {
            clear_dont_fragment(&mut bytes);
        }
        bytes
    }

    /// The same in fragments of at most `mtu` bytes of IP packet (IPv4).
    ///
    /// # Panics
    /// If the packet does not fit an IP packet.
    pub fn fragments(&self, from: Mac, to: Mac, mtu: usize) -> Vec<Vec<u8>> {
        let mut frame = Frame::with_capacity(0);
        let whole = self.clone().may_fragment();
        frame.extend(&whole.frame(from, to));
        let mut pieces = Vec::new();
        let emit = &mut |piece: Frame| pieces.push(piece.bytes().to_vec());
        fragment_ipv4(frame, mtu, &mut FramePool::new(8), emit).unwrap();
        pieces
    }
}

/// DF off, and the header's checksum as it must be then.
fn clear_dont_fragment(frame: &mut [u8]) {
    frame[20..22].copy_from_slice(&[0, 0]);
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = checksum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
}

/// `10.0.0.1:80`, `[2001:db8::1]:80`, or an address alone (port 0).
fn endpoint(text: &str) -> (IpAddr, u16) {
    match text.parse::<std::net::SocketAddr>() {
        Ok(socket) => (socket.ip(), socket.port()),
        Err(_) => (text.parse().unwrap(), 0),
    }
}

/// An IP packet that passed an interface.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it says.
    pub headers: Headers,
    /// The frame.
    pub bytes: Vec<u8>,
}

impl Seen {
    /// Reads a frame; `None` if it holds no IP packet.
    ///
    /// # Panics
    /// If a checksum is wrong.
    pub fn read(frame: &Recorded) -> Option<Self> {
        let headers = parse_ip(&frame.bytes, ETHERNET_LEN).ok()?;
        assert!(
            checksum::verify_transport(&frame.bytes, &headers),
            "transport checksum of {:?}",
            headers.tuple
        );
        Some(Self {
            headers,
            bytes: frame.bytes.clone(),
        })
    }

    /// `address:port` of the sender.
    pub fn from(&self) -> String {
        let tuple = self.headers.tuple;
        std::net::SocketAddr::new(tuple.src, tuple.sport).to_string()
    }

    /// `address:port` of the receiver.
    pub fn to(&self) -> String {
        let tuple = self.headers.tuple;
        std::net::SocketAddr::new(tuple.dst, tuple.dport).to_string()
    }

    /// Whether a TCP packet has this flag.
    pub fn has(&self, flag: u8) -> bool {
        self.headers.tuple.protocol == protocol::TCP && self.headers.tcp_flags & flag != 0
    }

    /// What follows the transport header of a TCP packet without options, or of
    /// a UDP or ICMP packet.
    pub fn payload(&self) -> &[u8] {
        let header = match self.headers.tuple.protocol {
            protocol::TCP => 20,
            _ => 8,
        };
        let start = usize::from(self.headers.l4) + header;
        &self.bytes[start..usize::from(self.headers.l3) + self.headers.ip_len as usize]
    }

    /// Source MAC address of the frame.
    pub fn src_mac(&self) -> Mac {
        Mac(self.bytes[6..12].try_into().unwrap())
    }
}

/// The IP packets that a host received, oldest first.
pub fn received(host: &Host) -> Vec<Seen> {
    host.frames().iter().filter_map(Seen::read).collect()
}
