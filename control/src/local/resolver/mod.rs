//! The VPC resolver: questions in, answers out.
//!
//! It knows what AWS names: interfaces, public addresses, endpoints; and the zones
//! of the lab's owner. A name of these domains that nobody has does not exist; of
//! other names it knows nothing, and says the same (NXDOMAIN) unless it may ask outside (`forward`).
//!
//! AWS: VPC "DNS attributes for your VPC"; RFC 1035, RFC 6891 (EDNS).

mod endpoints;
mod instances;
mod zones;

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::asker::Asker;
use super::stream::Reply;

/// Seconds for which answers may be kept (AWS answers 60 for most).
const TTL_S: u32 = 60;
/// Largest datagram that is sent: what AWS's resolver offers by EDNS.
const DATAGRAM_MAX: u16 = 4096;
/// Aliases followed in one answer.
const ALIASES_MAX: usize = 8;

/// A message as TCP carries it, after its length (RFC 1035 §4.2.2); nothing if it
/// is too long for one.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    match u16::try_from(message.len()) {
        Ok(len) => [&len.to_be_bytes(), message].concat(),
        Err(_) => Vec::new(),
    }
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// Everything that the name has; perhaps nothing of the type asked for.
    Here(Vec<RData>),
    /// It is in a domain that is known in full, and is not there.
    Missing,
    /// Nothing is known.
    Elsewhere,
}

/// The resolver of all VPCs; what they see differs.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    /// Counts answers: several addresses of a name take turns at being first.
    turn: usize,
    /// The last question was for a name of which nothing is known.
    unknown: bool,
}

impl Resolver {
    /// The answer to a query by UDP, and whether the lab knows the name; none to
    /// what is no query.
    pub(super) fn answer_datagram(
        &mut self,
        asker: &Asker<'_>,
        query: &[u8],
    ) -> Option<(Vec<u8>, bool)> {
        self.unknown = false;
        let answer = self.answer(asker, query)?;
        let known = !self.unknown;
        let room = answer.edns.as_ref().and(Message::from_vec(query).ok());
        let room = room.map_or(512, |query| query.max_payload().min(DATAGRAM_MAX));
        let bytes = answer.to_vec().ok()?;
        if bytes.len() <= usize::from(room) {
            return Some((bytes, known));
        }
        Some((answer.truncate().to_vec().ok()?, known))
    }

    /// The same by TCP: each message after its length in two bytes.
    pub(super) fn answer_stream(&mut self, asker: &Asker<'_>, asked: &[u8]) -> (Reply, bool) {
        self.unknown = false;
        let reply = self.reply(asker, asked);
        (reply, !self.unknown)
    }

    fn reply(&mut self, asker: &Asker<'_>, asked: &[u8]) -> Reply {
        let message = asked.split_first_chunk::<2>().and_then(|(len, rest)| {
            let len = usize::from(u16::from_be_bytes(*len));
            Some((len + 2, rest.get(..len)?))
        });
        let Some((taken, query)) = message else {
            return Reply::default();
        };
        let answer = self.answer(asker, query);
        let answer = answer.and_then(|answer| answer.to_vec().ok());
        let bytes = answer.map(|answer| framed(&answer)).unwrap_or_default();
        if bytes.is_empty() {
            return Reply {
                close: true,
                ..Reply::default()
            };
        }
        Reply {
            taken,
            bytes,
            ..Reply::default()
        }
    }

    fn answer(&mut self, asker: &Asker<'_>, query: &[u8]) -> Option<Message> {
        let query = match Message::from_vec(query) {
            Ok(query) => query,
            Err(_) => return malformed(query),
        };
        if query.metadata.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::query();
        answer.metadata = Metadata::response_from_request(&query.metadata);
        answer.metadata.recursion_available = true;
        answer.add_queries(query.queries.iter().cloned());
        if let Some(asked) = &query.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(DATAGRAM_MAX);
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            answer.set_edns(edns);
        }
        answer.metadata.response_code = match &query.queries[..] {
            _ if query.version() > 0 => ResponseCode::BADVERS,
            _ if query.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            [one] if one.query_class() == DNSClass::IN => {
                let (name, kind) = (one.name().clone(), one.query_type());
                self.look_up(asker, name, kind, &mut answer)
            }
            [_] => ResponseCode::Refused,
            _ => ResponseCode::FormErr,
        };
        if let Some(edns) = &mut answer.edns {
            let code = u16::from(answer.metadata.response_code);
            edns.set_rcode_high((code >> 4) as u8);
        }
        Some(answer)
    }

    /// Appends what a name has of a type, through its aliases.
    fn look_up(
        &mut self,
        asker: &Asker<'_>,
        name: Name,
        kind: RecordType,
        answer: &mut Message,
    ) -> ResponseCode {
        let mut name = name;
        for _ in 0..ALIASES_MAX {
            let all = match find(asker, &text_of(&name)) {
                Found::Here(all) => all,
                // What an alias leads to may be anything; the alias is there.
                _ if !answer.answers.is_empty() => return ResponseCode::NoError,
                Found::Missing => return ResponseCode::NXDomain,
                Found::Elsewhere => {
                    self.unknown = true;
                    return ResponseCode::NXDomain;
                }
            };
            let alias = all.iter().find_map(|data| match data {
                RData::CNAME(alias) => Some(alias.0.clone()),
                _ => None,
            });
            let record = |data| Record::from_rdata(name.clone(), TTL_S, data);
            match alias.filter(|_| kind != RecordType::CNAME) {
                Some(alias) => {
                    answer.add_answers(all.into_iter().map(record));
                    name = alias;
                }
                None => {
                    let wanted =
                        |data: &RData| kind == RecordType::ANY || data.record_type() == kind;
                    let mut wanted: Vec<_> = all.into_iter().filter(wanted).collect();
                    if wanted.len() > 1 {
                        let first = self.turn % wanted.len();
                        wanted.rotate_left(first);
                        self.turn = self.turn.wrapping_add(1);
                    }
                    answer.add_answers(wanted.into_iter().map(record));
                    return ResponseCode::NoError;
                }
            }
        }
        ResponseCode::ServFail
    }
}

/// What a VPC sees of a name, given in lower case without a dot at its end.
fn find(asker: &Asker<'_>, name: &str) -> Found {
    let sources = [
        zones::private,
        endpoints::find,
        instances::find,
        zones::public,
        zones::services,
    ];
    let mut answers = sources.iter().map(|source| source(asker, name));
    let known = answers.find(|found| *found != Found::Elsewhere);
    known.unwrap_or(Found::Elsewhere)
}

fn text_of(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

/// A query that cannot be read is told so, if it is long enough to have a number.
fn malformed(query: &[u8]) -> Option<Message> {
    let (id, rest) = query.split_first_chunk::<2>()?;
    // An answer that cannot be read is not answered.
    (rest.len() >= 10 && rest.first()? & 0x80 == 0).then(|| {
        let id = u16::from_be_bytes(*id);
        Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
    })
}

#[cfg(test)]
mod tests;
