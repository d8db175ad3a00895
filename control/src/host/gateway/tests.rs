//! The gateway between a small stack that plays the lab and sockets on loopback
//! that play the real network.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};

use nix::poll::PollTimeout;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket as Tcp, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};
use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{Fragment, Frame, Headers, parse_ip, protocol};
use vpclab_dataplane::time::{Duration, Instant};
use vpclab_dataplane::worker::Clock;

use super::datagram;
use super::engine::{Counts, Engine};
use super::link::{Identity, PacketDevice};
use super::listen::{Listener, Socket};
use super::{tcp, wait_for};
use crate::host::limits;
use crate::topology::located::Scalar;
use crate::topology::values::Publish;

const HOST: &str = "198.51.100.60";
const SERVER: &str = "203.0.113.7";
const GATEWAY: &str = "192.0.2.1";
const ETHERNET: usize = 14;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The real network has one public address: that of loopback's servers.
fn reach(address: IpAddr) -> Option<IpAddr> {
    (address == ip(SERVER)).then_some(ip("127.0.0.1"))
}

fn identity() -> Identity {
    Identity {
        eni: EniId(7),
        mac: Mac([2, 0, 0, 0, 0, 7]),
        router_mac: Mac([2, 0, 0, 0, 0, 1]),
    }
}

struct World {
    engine: Engine,
    /// The lab's only host.
    iface: Interface,
    device: PacketDevice,
    sockets: SocketSet<'static>,
    clock: Clock,
    /// How much later it is than by the clock.
    later: Duration,
    /// Frames that the gateway sent and the host's stack is not to have.
    seen: Vec<Frame>,
}

impl World {
    fn new() -> Self {
        let address_of = Box::new(|_| Some(ip(HOST)));
        let mut engine = Engine::new(identity(), vec![ip(GATEWAY)], address_of);
        engine.configure(Vec::new(), Some(reach));
        let mut device = PacketDevice::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut iface = Interface::new(config, &mut device, smoltcp::time::Instant::ZERO);
        iface.update_ip_addrs(|all| all.push(IpCidr::new(ip(HOST).into(), 0)).unwrap());
        Self {
            engine,
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            clock: Clock::start(),
            later: Duration::ZERO,
            seen: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.clock.now() + self.later
    }

    fn publishing(text: &str, socket: Socket) -> Self {
        let mut world = Self::new();
        let listener = Listener {
            publish: Publish::parse(text).unwrap(),
            target: EniId(3),
            socket,
        };
        world.engine.configure(vec![listener], Some(reach));
        world
    }

    fn step(&mut self) {
        let now = self.now();
        let stack = smoltcp::time::Instant::from_micros((now.as_nanos() / 1000) as i64);
        self.iface.poll(stack, &mut self.device, &mut self.sockets);
        let sent: Vec<_> = self.device.tx.drain(..).collect();
        for packet in &sent {
            self.engine.input(now, identity().frame(packet));
        }
        let answers = self.engine.turn(now);
        let moved = !sent.is_empty() || !answers.is_empty();
        for frame in answers {
            assert_eq!(frame.port, identity().eni);
            if headers(&frame).tuple.protocol == protocol::TCP {
                self.device.rx.push_back(frame.bytes()[ETHERNET..].to_vec());
            }
            self.seen.push(frame);
        }
        if !moved {
            wait_for(&mut self.engine, None, PollTimeout::from(5u8));
        }
    }

    #[track_caller]
    fn until<T>(&mut self, mut what: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..2_000 {
            self.step();
            if let Some(found) = what(self) {
                return found;
            }
        }
        panic!("not within 2000 steps");
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; 4096]);
        self.sockets.add(Tcp::new(buffer(), buffer()))
    }

    /// A connection of the host to the real network.
    fn connect(&mut self, port: u16) -> SocketHandle {
        let handle = self.socket();
        let socket = self.sockets.get_mut::<Tcp<'_>>(handle);
        let to = IpEndpoint::new(ip(SERVER).into(), port);
        socket.connect(self.iface.context(), to, 40_000).unwrap();
        handle
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut Tcp<'static> {
        self.sockets.get_mut(handle)
    }

    /// A datagram of the host.
    fn datagram(&mut self, from: u16, to: (&str, u16), payload: &[u8]) {
        let from = SocketAddr::new(ip(HOST), from);
        let to = SocketAddr::new(ip(to.0), to.1);
        let frame = datagram::udp(&identity(), from, to, payload);
        let now = self.now();
        self.engine.input(now, frame);
    }

    fn ended(&mut self) {
        self.until(|world| (world.engine.under_way() == (0, 0)).then_some(()));
    }
}

fn headers(frame: &Frame) -> Headers {
    parse_ip(frame.bytes(), ETHERNET).unwrap()
}

fn payload(frame: &Frame) -> &[u8] {
    vpclab_dataplane::packet::udp_payload(frame.bytes(), &headers(frame)).unwrap()
}

/// A server of the real network, and its port.
fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn accepted(world: &mut World, listener: &TcpListener) -> TcpStream {
    let (stream, _) = world.until(|_| listener.accept().ok());
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Reads until the other side ends, or an error.
fn read_all(world: &mut World, stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut all = Vec::new();
    world.until(|_| match stream.read_to_end(&mut all) {
        Ok(_) => Some(Ok(())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error.kind())),
    })?;
    Ok(all)
}

fn received(socket: &mut Tcp<'static>) -> Vec<u8> {
    let take = |bytes: &mut [u8]| (bytes.len(), bytes.to_vec());
    socket.recv(take).unwrap_or_default()
}

#[test]
fn each_side_may_end_first_and_still_be_answered() {
    let mut world = World::new();
    let (listener, port) = server();
    let host = world.connect(port);
    let mut stream = accepted(&mut world, &listener);
    world.until(|world| world.tcp(host).may_send().then_some(()));
    world.tcp(host).send_slice(b"question").unwrap();
    world.tcp(host).close();
    assert_eq!(read_all(&mut world, &mut stream).unwrap(), b"question");
    // The host has ended; the answer still comes.
    stream.write_all(b"answer").unwrap();
    let mut all = Vec::new();
    world.until(|world| {
        all.extend(received(world.tcp(host)));
        (all == b"answer").then_some(())
    });
    drop(stream);
    world.ended();
    assert_eq!(world.engine.counts(), Counts::default());

    // And the other way round.
    let host = world.connect(port);
    let mut stream = accepted(&mut world, &listener);
    stream.write_all(b"greeting").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    world.until(|world| {
        all.extend(received(world.tcp(host)));
        (world.tcp(host).state() == State::CloseWait && all == b"greeting").then_some(())
    });
    world.tcp(host).send_slice(b"thanks").unwrap();
    world.tcp(host).close();
    assert_eq!(read_all(&mut world, &mut stream).unwrap(), b"thanks");
    world.ended();
}

#[test]
fn a_refusal_stays_a_refusal_and_a_reset_a_reset() {
    let mut world = World::new();
    let (listener, port) = server();
    let host = world.connect(port);
    let stream = accepted(&mut world, &listener);
    world.until(|world| world.tcp(host).may_send().then_some(()));
    super::sockets::reset(stream);
    world.until(|world| (world.tcp(host).state() == State::Closed).then_some(()));
    world.ended();

    let host = world.connect(port);
    let mut stream = accepted(&mut world, &listener);
    world.until(|world| world.tcp(host).may_send().then_some(()));
    world.tcp(host).abort();
    let end = read_all(&mut world, &mut stream);
    assert_eq!(end.unwrap_err(), ErrorKind::ConnectionReset);
    world.ended();

    drop(listener);
    let host = world.connect(port);
    world.step();
    assert_eq!(world.tcp(host).state(), State::SynSent);
    world.until(|world| (world.tcp(host).state() == State::Closed).then_some(()));
    world.ended();
    assert_eq!(world.engine.counts(), Counts::default());
}

#[test]
fn who_does_not_read_holds_the_sender_and_loses_nothing() {
    let mut world = World::new();
    let (listener, port) = server();
    let host = world.connect(port);
    let mut stream = accepted(&mut world, &listener);
    let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut at = 0;
    let mut push = |stream: &mut TcpStream| {
        while let Ok(n) = stream.write(&sent[at..]) {
            at += n;
            if at == sent.len() {
                break;
            }
        }
        at
    };
    // Until nothing moves any more for many turns.
    let mut quiet = 0;
    let mut before = 0;
    world.until(|_| {
        let now = push(&mut stream);
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        (quiet > 20).then_some(())
    });
    assert!(before < sent.len(), "{before} bytes wait somewhere");
    let mut all = Vec::new();
    for _ in 0..200_000 {
        world.step();
        push(&mut stream);
        all.extend(received(world.tcp(host)));
        if all.len() == sent.len() {
            break;
        }
    }
    assert!(all == sent, "{} bytes", all.len());

    // The same to the real side: it does not read, the host's buffer fills.
    let total = 2_000_000;
    let mut given = 0;
    let mut taken = Vec::new();
    let mut reads = false;
    let mut quiet = 0;
    for _ in 0..200_000 {
        world.step();
        let socket = world.tcp(host);
        let mut moved = false;
        while given < total && socket.can_send() {
            let end = total.min(given + 1000);
            let n = socket.send_slice(&sent[given..end]).unwrap();
            given += n;
            moved |= n > 0;
        }
        quiet = if moved { 0 } else { quiet + 1 };
        if !reads && (quiet > 20 || given == total) {
            reads = true;
        }
        if reads {
            let mut chunk = [0; 65_536];
            while let Ok(n) = stream.read(&mut chunk) {
                taken.extend_from_slice(&chunk[..n]);
            }
        }
        if taken.len() == total {
            break;
        }
    }
    assert!(taken == sent[..total], "{} bytes", taken.len());
}

#[test]
fn who_does_not_answer_is_given_up() {
    let mut world = World::new();
    let (listener, port) = server();
    let host = world.connect(port);
    let _stream = accepted(&mut world, &listener);
    world.until(|world| world.tcp(host).may_send().then_some(()));
    // Idle is not dead...
    world.later = tcp::CONNECT + tcp::CONNECT;
    world.step();
    assert_eq!(world.engine.under_way(), (1, 0));
    // ...until it is for very long.
    world.later = tcp::IDLE + tcp::CONNECT;
    world.until(|world| (world.tcp(host).state() == State::Closed).then_some(()));
    world.ended();
}

#[test]
fn connections_are_bounded_and_counted() {
    limits::raise_open_files();
    let mut world = World::new();
    let (_listener, port) = server();
    let syn = {
        world.connect(port);
        let now = smoltcp::time::Instant::ZERO;
        world.iface.poll(now, &mut world.device, &mut world.sockets);
        world.device.tx.pop_back().unwrap()
    };
    for n in 0..=tcp::FLOWS_MAX {
        let mut packet = syn.clone();
        packet[20..22].copy_from_slice(&(1000 + n as u16).to_be_bytes());
        let now = world.now();
        world.engine.input(now, identity().frame(&packet));
    }
    let now = world.now();
    let answers = world.engine.turn(now);
    assert_eq!(world.engine.under_way(), (tcp::FLOWS_MAX, 0));
    assert_eq!(world.engine.counts().no_room, 1);
    let last = 1000 + tcp::FLOWS_MAX as u16;
    let resets = answers.iter().map(headers);
    let resets: Vec<_> = resets.filter(|it| it.tcp_flags & 4 != 0).collect();
    assert_eq!(resets.len(), 1);
    assert_eq!(resets[0].tuple.dport, last);
}

#[test]
fn datagrams_find_back_until_nobody_speaks_any_more() {
    let mut world = World::new();
    let real = UdpSocket::bind("127.0.0.1:0").unwrap();
    real.set_nonblocking(true).unwrap();
    let port = real.local_addr().unwrap().port();
    let mut buffer = [0; 4096];
    for from in [5000, 5001] {
        world.datagram(from, (SERVER, port), format!("from {from}").as_bytes());
        let (len, peer) = world.until(|_| real.recv_from(&mut buffer).ok());
        let text = String::from_utf8_lossy(&buffer[..len]).to_uppercase();
        real.send_to(text.as_bytes(), peer).unwrap();
        let answer = world.until(|world| world.seen.pop());
        let tuple = headers(&answer).tuple;
        assert_eq!((tuple.src, tuple.sport), (ip(SERVER), port));
        assert_eq!((tuple.dst, tuple.dport), (ip(HOST), from));
        assert_eq!(payload(&answer), format!("FROM {from}").as_bytes());
        let whole = vpclab_dataplane::packet::checksum::verify_transport;
        assert!(whole(answer.bytes(), &headers(&answer)));
    }
    assert_eq!(world.engine.under_way(), (0, 2));
    // A datagram that is too long for the lab's internet comes in fragments.
    world.datagram(5000, (SERVER, port), b"much");
    let (_, peer) = world.until(|_| real.recv_from(&mut buffer).ok());
    real.send_to(&[7; 4000], peer).unwrap();
    world.until(|world| (world.seen.len() == 3).then_some(()));
    let pieces = world
        .seen
        .drain(..)
        .map(|it| (headers(&it).fragment, it.len()));
    let pieces: Vec<_> = pieces.collect();
    assert_eq!(pieces[0], (Fragment::First, 1514));
    assert_eq!(pieces[2].0, Fragment::Later);
    assert_eq!(pieces.iter().map(|it| it.1 - 34).sum::<usize>(), 4008);
    world.later = datagram::IDLE + Duration::from_secs(1);
    world.ended();
    assert_eq!(world.engine.counts(), Counts::default());
}

#[test]
fn nobody_listening_and_nowhere_to_go_are_said() {
    let mut world = World::new();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    world.datagram(5000, (SERVER, port), b"anybody?");
    let error = world.until(|world| world.seen.pop());
    let said = headers(&error);
    assert_eq!((said.icmp_type, said.icmp_code), (3, 3));
    assert_eq!((said.tuple.src, said.tuple.dst), (ip(SERVER), ip(HOST)));
    assert_eq!(world.engine.counts(), Counts::default());

    // An address that may not be reached: nothing is sent there.
    world.datagram(5000, ("203.0.113.8", port), b"may I?");
    let error = world.until(|world| world.seen.pop());
    assert_eq!(
        (headers(&error).icmp_type, headers(&error).icmp_code),
        (3, 1)
    );
    assert_eq!(world.engine.counts().not_carried, 1);
    // And what belongs to nothing, at the gateway itself.
    world.datagram(5000, (GATEWAY, 9), b"hello?");
    let error = world.until(|world| world.seen.pop());
    assert_eq!(
        (headers(&error).icmp_type, headers(&error).icmp_code),
        (3, 3)
    );
    assert_eq!(world.engine.under_way().1, 1);
    // Without an uplink nothing gets out, but what is under way.
    world.engine.configure(Vec::new(), None);
    world.datagram(5002, (SERVER, port), b"and now?");
    let error = world.until(|world| world.seen.pop());
    assert_eq!(
        (headers(&error).icmp_type, headers(&error).icmp_code),
        (3, 1)
    );
}

#[test]
fn the_conversation_that_was_quiet_longest_makes_room() {
    limits::raise_open_files();
    let mut world = World::new();
    let real = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = real.local_addr().unwrap().port();
    for n in 0..=datagram::FLOWS_MAX {
        world.later = Duration::from_millis(n as u64);
        world.datagram(1000 + n as u16, (SERVER, port), b"x");
    }
    assert_eq!(world.engine.under_way().1, datagram::FLOWS_MAX);
    assert_eq!(world.engine.counts().no_room, 1);
}

#[test]
fn a_published_port_leads_to_its_host() {
    let (listener, port) = server();
    let mut world = World::publishing("8080:web:80", Socket::Tcp(listener.into()));
    let host = world.socket();
    world.tcp(host).listen(80).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_nonblocking(true).unwrap();
    client.write_all(b"request").unwrap();
    let mut all = Vec::new();
    world.until(|world| {
        all.extend(received(world.tcp(host)));
        (all == b"request").then_some(())
    });
    let remote = world.tcp(host).remote_endpoint().unwrap();
    assert_eq!(IpAddr::from(remote.addr), ip(GATEWAY));
    world.tcp(host).send_slice(b"response").unwrap();
    world.tcp(host).close();
    assert_eq!(read_all(&mut world, &mut client).unwrap(), b"response");
    drop(client);
    world.ended();

    // The host refuses: the client's connection is reset.
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.set_nonblocking(true).unwrap();
    let end = read_all(&mut world, &mut client);
    assert_eq!(end.unwrap_err(), ErrorKind::ConnectionReset);
    world.ended();
}

#[test]
fn published_datagrams_keep_their_clients_apart() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let place = socket.local_addr().unwrap();
    let mut world = World::publishing("5353:dns:53/udp", Socket::Udp(socket.into()));
    let clients = [0, 1].map(|n| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_nonblocking(true).unwrap();
        client.send_to(format!("{n}").as_bytes(), place).unwrap();
        client
    });
    world.until(|world| (world.seen.len() == 2).then_some(()));
    let asked: Vec<_> = world.seen.drain(..).collect();
    for frame in &asked {
        let tuple = headers(frame).tuple;
        assert_eq!((tuple.src, tuple.dst), (ip(GATEWAY), ip(HOST)));
        assert_eq!(tuple.dport, 53);
        let answer = [payload(frame), b"!"].concat();
        world.datagram(53, (GATEWAY, tuple.sport), &answer);
    }
    let mut buffer = [0; 64];
    for (n, client) in clients.iter().enumerate() {
        let len = world.until(|_| client.recv(&mut buffer).ok());
        assert_eq!(&buffer[..len], format!("{n}!").as_bytes());
    }
    // One that speaks again is known.
    clients[0].send_to(b"again", place).unwrap();
    let frame = world.until(|world| world.seen.pop());
    assert_eq!(headers(&frame).tuple.sport, headers(&asked[0]).tuple.sport);
    assert_eq!(world.engine.under_way(), (0, 2));
}
