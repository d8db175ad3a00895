//! Questions that go on to a resolver outside the lab, and their way back.

use std::collections::BTreeMap;

use vpclab_dataplane::addr::EniId;
use vpclab_dataplane::time::{Duration, Instant};

use super::End;

/// Questions under way at once; more are answered as if nobody knew.
const QUESTIONS_MAX: usize = 1024;
/// Who has not answered by then does not (clients ask again after 5 s).
const PATIENCE: Duration = Duration::from_secs(4);

/// A question for the resolver outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Names it; the answer names it, too.
    pub ticket: u64,
    /// The query as the host sent it.
    pub query: Vec<u8>,
    /// It came by TCP, and so should the answer: it may be long.
    pub by_tcp: bool,
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// From the service's end to the host's.
    Datagram { from: End, to: End },
    /// On the host's connection that waits for the ticket.
    Stream,
}

/// Where the answer goes.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) eni: EniId,
    pub(super) back: Back,
    pub(super) ticket: u64,
    /// What is said if nobody answers.
    pub(super) otherwise: Vec<u8>,
    query: Vec<u8>,
    until: Instant,
}

/// All questions under way.
#[derive(Debug, Default)]
pub(super) struct Forward {
    /// Whether there is anybody to ask.
    pub(super) on: bool,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    asked: Vec<Question>,
    /// Those that are answered, or given up.
    done: Vec<(Waiting, Vec<u8>)>,
}

impl Forward {
    /// Asks; no ticket if it may not.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        (eni, back): (EniId, Back),
        query: &[u8],
        otherwise: &[u8],
    ) -> Option<u64> {
        if !self.on || self.waiting.len() >= QUESTIONS_MAX {
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        let waiting = Waiting {
            eni,
            back,
            ticket,
            otherwise: otherwise.to_vec(),
            query: query.to_vec(),
            until: now + PATIENCE,
        };
        self.waiting.insert(ticket, waiting);
        let query = query.to_vec();
        self.asked.push(Question {
            ticket,
            query,
            by_tcp: back == Back::Stream,
        });
        Some(ticket)
    }

    pub(super) fn questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.asked)
    }

    /// Takes an answer in. What answers another question is none.
    pub(super) fn answer(&mut self, ticket: u64, answer: Vec<u8>) {
        let fits = |held: &Waiting| answers(&held.query, &answer);
        if self.waiting.get(&ticket).is_some_and(fits)
            && let Some(held) = self.waiting.remove(&ticket)
        {
            self.done.push((held, answer));
        }
    }

    /// What can be sent now.
    pub(super) fn done(&mut self, now: Instant) -> Vec<(Waiting, Vec<u8>)> {
        let late = self.waiting.iter().filter(|(_, held)| held.until <= now);
        let late: Vec<u64> = late.map(|(&ticket, _)| ticket).collect();
        for ticket in late {
            if let Some(held) = self.waiting.remove(&ticket) {
                let answer = held.otherwise.clone();
                self.done.push((held, answer));
            }
        }
        std::mem::take(&mut self.done)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.done.is_empty() {
            true => self.waiting.values().map(|held| held.until).min(),
            false => Some(Instant::ZERO),
        }
    }

    /// Whether an answer may come.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// Whether a message answers a query: its number, an answer, the same question.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    let (Some(asked), Some(said)) = (query.get(..12), answer.get(..12)) else {
        return false;
    };
    let end = question_end(query);
    asked[..2] == said[..2]
        && said[2] & 0x80 != 0
        && said[4..6] == asked[4..6]
        && answer
            .get(12..end)
            .zip(query.get(12..end))
            .is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
}

/// Where the first question ends (RFC 1035 §4.1.2); past the end if it does not.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while let Some(&len) = query.get(at) {
        at += 1 + usize::from(len);
        if len == 0 {
            return at + 4;
        }
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

    fn ask(forward: &mut Forward, now: Instant) -> Option<u64> {
        let end = ([10, 0, 0, 2].into(), 53);
        let back = Back::Datagram { from: end, to: end };
        forward.ask(now, (EniId(1), back), QUERY, b"nobody")
    }

    fn asked() -> (Forward, u64) {
        let mut forward = Forward {
            on: true,
            ..Forward::default()
        };
        assert!(ask(&mut forward, Instant::ZERO).is_some());
        let [question] = &forward.questions()[..] else {
            panic!("one question");
        };
        assert_eq!(question.query, QUERY);
        let ticket = question.ticket;
        (forward, ticket)
    }

    #[test]
    fn an_answer_to_the_question_goes_back_and_no_other() {
        let (mut forward, ticket) = asked();
        let mut answer = QUERY.to_vec();
        answer[2] |= 0x80;
        let mut other = answer.clone();
        other[13] = b'b';
        for wrong in [QUERY.to_vec(), other, answer[..11].to_vec(), Vec::new()] {
            forward.answer(ticket, wrong);
        }
        forward.answer(ticket + 1, answer.clone());
        assert!(forward.done(Instant::ZERO).is_empty());
        answer[13] = b'A';
        forward.answer(ticket, answer.clone());
        assert_eq!(forward.next_deadline(), Some(Instant::ZERO));
        let done = forward.done(Instant::ZERO);
        assert_eq!(done.len(), 1);
        assert_eq!(done[0].1, answer);
        assert!(!forward.is_waiting());
    }

    #[test]
    fn who_is_not_answered_is_told_so_in_time() {
        let (mut forward, _) = asked();
        let at = forward.next_deadline().unwrap();
        assert_eq!(at, Instant::ZERO + PATIENCE);
        assert!(forward.done(Instant::from_secs(1)).is_empty());
        assert_eq!(forward.done(at)[0].1, b"nobody");
        forward.on = false;
        assert_eq!(ask(&mut forward, at), None);
    }
}
