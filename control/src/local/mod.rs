//! Services on the link of every host: DNS, DHCP, instance metadata and time.
//!
//! Sans-IO: frames that the data plane took at a host's interface come in
//! (`Sink::local`), answers go out to the same interface (`Pipeline::serve`),
//! past groups, ACLs and routes. What they say follows from the model.

mod asker;
mod dhcp;
mod forward;
mod metadata;
mod resolver;
mod stream;
#[cfg(test)]
mod testing;
mod time;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;

use vpclab_dataplane::addr::{EniId, Mac};
use vpclab_dataplane::packet::{Frame, Headers, protocol, udp_payload};
use vpclab_dataplane::tables::Snapshot;
use vpclab_dataplane::time::Instant;
use vpclab_dataplane::walk::{Service, service_for};

pub(crate) use metadata::http;

use crate::model::{Model, hash};
use asker::Asker;
pub use forward::Question;
use forward::{Back, Forward};
use resolver::Resolver;
use stream::{Reply, Stack};

/// A UDP end.
type End = (IpAddr, u16);

/// Most hosts with a connection to a service at once; the next ones' SYNs are
/// not heard until one has ended.
const STACKS_MAX: usize = 4096;

/// The services of a whole lab.
pub struct LocalServices {
    seed: u64,
    resolver: Resolver,
    forward: Forward,
    /// Hosts with a connection under way, by interface. One that is taken over
    /// by another interface has another MAC address.
    stacks: BTreeMap<EniId, (Mac, Stack)>,
    deadline: Option<Instant>,
}

/// What time it is.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By the lab's clock.
    pub lab: Instant,
    /// In nanoseconds since 1970: what the time service says.
    pub unix_ns: u64,
}

impl LocalServices {
    /// Services that nobody has asked yet. Equal seeds and inputs give equal
    /// answers.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            resolver: Resolver::default(),
            forward: Forward::default(),
            stacks: BTreeMap::new(),
            deadline: None,
        }
    }

    /// Takes in the frames of `rx`, each with the interface whose host sent it,
    /// and appends answers to `tx`, each naming the interface that it is for.
    pub fn poll(
        &mut self,
        now: Now,
        model: &Model,
        tables: &Snapshot,
        rx: &mut Vec<(EniId, Frame)>,
        tx: &mut Vec<Frame>,
    ) {
        for (eni, mut frame) in rx.drain(..) {
            // Who is gone meanwhile needs no answer.
            let Some(asker) = Asker::new(model, tables, eni) else {
                continue;
            };
            let Some(headers) = wire::read(&mut frame) else {
                continue;
            };
            match headers.tuple.protocol {
                protocol::TCP => self.take_segment(now, &asker, frame, &headers),
                _ => tx.extend(self.answer_datagram(now, &asker, &frame, &headers)),
            }
        }
        for (held, answer) in self.forward.done(now.lab) {
            match held.back {
                Back::Datagram { from, to } => {
                    let asker = Asker::new(model, tables, held.eni);
                    tx.extend(asker.and_then(|it| wire::datagram(&it, from, to, &answer)));
                }
                Back::Stream => {
                    if let Some((_, stack)) = self.stacks.get_mut(&held.eni) {
                        stack.deliver(now.lab, held.ticket, resolver::framed(&answer));
                    }
                }
            }
        }
        self.run_stacks(now, model, tables, tx);
    }

    /// When [`Self::poll`] next has something to do without a frame coming in.
    pub fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.forward.next_deadline();
        self.deadline.into_iter().chain(waiting).min()
    }

    /// Whether names that the lab does not know may be asked for outside. Off at
    /// first.
    pub fn set_forward(&mut self, on: bool) {
        self.forward.on = on;
    }

    /// Questions for the resolver outside, each once.
    pub fn questions(&mut self) -> Vec<Question> {
        self.forward.questions()
    }

    /// What the resolver outside says to one of them.
    pub fn answer(&mut self, ticket: u64, answer: Vec<u8>) {
        self.forward.answer(ticket, answer);
    }

    /// Whether a question is under way outside.
    pub fn is_waiting(&self) -> bool {
        self.forward.is_waiting()
    }

    fn answer_datagram(
        &mut self,
        now: Now,
        asker: &Asker<'_>,
        frame: &Frame,
        headers: &Headers,
    ) -> Option<Frame> {
        let asked = udp_payload(frame.bytes(), headers)?;
        let back = headers.tuple.reversed();
        let (from, to) = ((back.src, back.sport), (back.dst, back.dport));
        let answer = match service_for(asker.tables, asker.eni, headers) {
            Some(Service::Resolver) => {
                let (answer, known) = self.resolver.answer_datagram(asker, asked)?;
                let way = (asker.eni, Back::Datagram { from, to });
                if !known && self.forward.ask(now.lab, way, asked, &answer).is_some() {
                    return None;
                }
                answer
            }
            Some(Service::Time) => time::answer(asked, now.unix_ns)?,
            Some(Service::Metadata | Service::Dhcp) => return None,
            // What else the data plane hands out by UDP is a DHCP client's.
            None => {
                let answer = dhcp::answer(asker, asked)?;
                return wire::datagram(asker, answer.from, answer.to, &answer.bytes);
            }
        };
        wire::datagram(asker, from, to, &answer)
    }

    fn take_segment(&mut self, now: Now, asker: &Asker<'_>, frame: Frame, headers: &Headers) {
        let Some(service) = service_for(asker.tables, asker.eni, headers) else {
            return;
        };
        let mac = asker.interface.mac;
        if self.stacks.get(&asker.eni).is_some_and(|it| it.0 != mac) {
            self.stacks.remove(&asker.eni);
        }
        let known = self.stacks.contains_key(&asker.eni);
        if !known && headers.is_tcp_open() && self.stacks.len() < STACKS_MAX {
            let seed = hash(self.seed ^ now.lab.as_nanos(), asker.interface.id.as_str());
            let stack = Stack::new(asker, seed);
            self.stacks
                .extend(stack.map(|stack| (asker.eni, (mac, stack))));
        }
        if let Some((_, stack)) = self.stacks.get_mut(&asker.eni) {
            stack.receive(now.lab, service, frame, headers);
        }
    }

    fn run_stacks(&mut self, now: Now, model: &Model, tables: &Snapshot, tx: &mut Vec<Frame>) {
        let (resolver, forward, seed) = (&mut self.resolver, &mut self.forward, self.seed);
        let mut deadline: Option<Instant> = None;
        self.stacks.retain(|&eni, (_, stack)| {
            let Some(asker) = Asker::new(model, tables, eni) else {
                return false;
            };
            stack.poll(now.lab, tx, |service, asked| match service {
                Service::Resolver => {
                    let (reply, known) = resolver.answer_stream(&asker, asked);
                    let outside = match asked.get(2..reply.taken) {
                        Some(query) if !known => {
                            let nobody = reply.bytes.get(2..).unwrap_or_default();
                            forward.ask(now.lab, (eni, Back::Stream), query, nobody)
                        }
                        _ => None,
                    };
                    match outside {
                        Some(_) => Reply {
                            taken: reply.taken,
                            later: outside,
                            ..Reply::default()
                        },
                        None => reply,
                    }
                }
                Service::Metadata => metadata::answer(&asker, now.lab, seed, asked),
                Service::Time | Service::Dhcp => Reply {
                    close: true,
                    ..Reply::default()
                },
            });
            let next = stack.next_deadline(now.lab);
            deadline = deadline.into_iter().chain(next).min();
            !stack.is_idle()
        });
        self.deadline = deadline.filter(|_| !self.stacks.is_empty());
    }
}

impl std::fmt::Debug for LocalServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalServices")
            .field("resolver", &self.resolver)
            .field("stacks", &self.stacks.len())
            .finish_non_exhaustive()
    }
}
