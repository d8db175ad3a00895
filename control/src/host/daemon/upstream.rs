//! The resolver outside, asked by a thread of its own.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::host::{Context, HostError};
use crate::local::Question;

/// How long the thread listens before it looks for questions.
const TURN: Duration = Duration::from_millis(10);
/// Without questions under way it looks this often whether it is still wanted.
const REST: Duration = Duration::from_secs(1);
/// After so many turns without an answer none is waited for.
const QUIET_TURNS: u32 = 500;
/// Questions whose answers are still taken.
const UNDER_WAY_MAX: usize = 1024;
const ANSWER_MAX: usize = 4096;
/// How long a connection may take for each of its steps.
const STEP: Duration = Duration::from_secs(3);
/// Connections at once; further questions are given up in time.
const CONNECTIONS_MAX: usize = 64;

/// A running thread; it ends with this.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Whom it asks.
    pub(super) address: SocketAddr,
    questions: Sender<Question>,
    answers: Receiver<(u64, Vec<u8>)>,
}

impl Upstream {
    pub(super) fn start(address: SocketAddr) -> Result<Self, HostError> {
        let own: SocketAddr = match address.is_ipv4() {
            true => ([0u8; 4], 0).into(),
            false => ([0u16; 8], 0).into(),
        };
        // Connected: only that resolver's answers come in.
        let socket = UdpSocket::bind(own).context("dns upstream")?;
        socket.connect(address).context(address)?;
        socket
            .set_read_timeout(Some(TURN))
            .context("dns upstream")?;
        let (questions, asked) = channel();
        let (said, answers) = channel();
        thread::Builder::new()
            .name("dns-upstream".to_owned())
            .spawn(move || run(&socket, address, &asked, &said))
            .context("thread")?;
        Ok(Self {
            address,
            questions,
            answers,
        })
    }

    pub(super) fn ask(&self, question: Question) {
        // A thread that has ended answers nothing: the question is given up in time.
        let _ = self.questions.send(question);
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        self.answers.try_iter()
    }
}

fn run(
    socket: &UdpSocket,
    address: SocketAddr,
    asked: &Receiver<Question>,
    said: &Sender<(u64, Vec<u8>)>,
) {
    // Each connection under way holds a part of it.
    let connections = Arc::new(());
    // By the number that the message has outside, with the one it has inside.
    let mut under_way: BTreeMap<u16, (u64, [u8; 2])> = BTreeMap::new();
    let mut buffer = [0; ANSWER_MAX];
    let mut quiet = 0;
    loop {
        let wait = if under_way.is_empty() {
            REST
        } else {
            Duration::ZERO
        };
        let first = match asked.recv_timeout(wait) {
            Ok(question) => Some(question),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        for question in first.into_iter().chain(asked.try_iter()) {
            quiet = 0;
            if question.by_tcp {
                if Arc::strong_count(&connections) <= CONNECTIONS_MAX {
                    ask_by_tcp(address, question, said.clone(), Arc::clone(&connections));
                }
                continue;
            }
            let Question {
                ticket, mut query, ..
            } = question;
            let outside = ticket as u16;
            if let Some(number) = query.first_chunk_mut::<2>() {
                under_way.insert(outside, (ticket, *number));
                *number = outside.to_be_bytes();
            }
            // What is not sent is not answered.
            let _ = socket.send(&query);
        }
        while under_way.len() > UNDER_WAY_MAX {
            under_way.pop_first();
        }
        if under_way.is_empty() {
            continue;
        }
        // No answer yet, or a refusal: the question is given up in time.
        let Ok(len) = socket.recv(&mut buffer) else {
            quiet += 1;
            if quiet >= QUIET_TURNS {
                under_way.clear();
            }
            continue;
        };
        quiet = 0;
        let mut answer = buffer.get(..len).unwrap_or_default().to_vec();
        if let Some(number) = answer.first_chunk_mut::<2>()
            && let Some((ticket, inside)) = under_way.remove(&u16::from_be_bytes(*number))
        {
            *number = inside;
            if said.send((ticket, answer)).is_err() {
                return;
            }
        }
    }
}

/// Asks on a connection of its own, in a thread that ends with it. What fails is
/// not answered: the question is given up in time.
fn ask_by_tcp(
    address: SocketAddr,
    question: Question,
    said: Sender<(u64, Vec<u8>)>,
    held: Arc<()>,
) {
    let ask = move || {
        match exchange(address, &question.query) {
            Ok(answer) => _ = said.send((question.ticket, answer)),
            Err(error) => tracing::debug!("dns upstream {address} by TCP: {error}"),
        }
        drop(held);
    };
    let name = "dns-upstream-tcp".to_owned();
    if let Err(error) = thread::Builder::new().name(name).spawn(ask) {
        tracing::warn!("dns upstream: {error}");
    }
}

/// One question and its answer (RFC 1035 §4.2.2).
fn exchange(address: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, STEP)?;
    stream.set_read_timeout(Some(STEP))?;
    stream.set_write_timeout(Some(STEP))?;
    let len = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), query].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
