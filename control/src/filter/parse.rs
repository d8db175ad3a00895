//! From text to a filter.

use std::fmt;
use std::net::IpAddr;

use vpclab_dataplane::addr::Prefix;
use vpclab_dataplane::drop::DropReason;
use vpclab_dataplane::packet::{ethertype, protocol, tcp_flag};

use super::{Filter, Names, Side, Test};

/// Deepest nesting: a filter is typed by hand.
const DEPTH_MAX: usize = 50;

/// A filter that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub fix: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

/// What may stand where a property is expected.
const PROPERTIES: &str = "one of tcp, udp, icmp, arp, ip, ip6, geneve, proto N, port N, \
                          portrange N-M, host ADDRESS|NAME, net BLOCK, at HOST|ENI, syn, ack, fin, \
                          rst, less N, greater N, dropped [REASON], inner (…); \
                          with not, and, or and ( )";

pub(super) fn parse(text: &str, names: &dyn Names) -> Result<Filter, FilterError> {
    let words = words(text);
    let mut parser = Parser {
        words: words.iter().map(String::as_str).collect(),
        at: 0,
        depth: 0,
        names,
    };
    let filter = parser.any()?;
    match parser.peek() {
        None => Ok(filter),
        Some(")") => Err(wrong("there is a `)` without a `(`", "remove it")),
        Some(word) => Err(wrong(
            &format!("`{word}` is not expected after a property"),
            "join properties with `and` or `or`",
        )),
    }
}

fn wrong(message: &str, fix: &str) -> FilterError {
    FilterError {
        message: format!("filter: {message}"),
        fix: fix.to_owned(),
    }
}

/// Words and signs.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    for letter in text.chars() {
        if matches!(letter, '(' | ')' | '!') {
            spaced.extend([' ', letter, ' ']);
        } else {
            spaced.push(letter);
        }
    }
    let spaced = spaced.replace("&&", " and ").replace("||", " or ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    depth: usize,
    names: &'a dyn Names,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// Takes `word` if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// What stands after `before`.
    fn argument(&mut self, before: &str, what: &str) -> Result<&'a str, FilterError> {
        let argument = self.next().filter(|word| !matches!(*word, "(" | ")"));
        argument.ok_or_else(|| {
            wrong(
                &format!("`{before}` needs {what}"),
                &format!("write {before} {what}"),
            )
        })
    }

    fn any(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.all()?;
        while self.take("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.all()?));
        }
        Ok(filter)
    }

    fn all(&mut self) -> Result<Filter, FilterError> {
        let mut filter = self.one()?;
        while self.take("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(wrong("it is nested too deeply", "write a simpler one"));
        }
        let filter = if self.take("not") || self.take("!") {
            Filter::Not(Box::new(self.one()?))
        } else if self.take("(") {
            self.within()?
        } else if self.take("inner") {
            if !self.take("(") {
                return Err(wrong("`inner` needs ( )", "write inner (tcp and port 80)"));
            }
            Filter::Inner(Box::new(self.within()?))
        } else {
            self.property()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn within(&mut self) -> Result<Filter, FilterError> {
        let filter = self.any()?;
        if self.take(")") {
            Ok(filter)
        } else {
            Err(wrong("a `)` is missing", "close what is open"))
        }
    }

    fn property(&mut self) -> Result<Filter, FilterError> {
        let Some(word) = self.next() else {
            return Err(wrong("it ends where a property is expected", PROPERTIES));
        };
        let protocols = |list: &[u8]| Test::Protocol(list.to_vec());
        let test = match word {
            "tcp" => protocols(&[protocol::TCP]),
            "udp" => protocols(&[protocol::UDP]),
            "icmp" => protocols(&[protocol::ICMP, protocol::ICMPV6]),
            "icmp6" | "icmpv6" => protocols(&[protocol::ICMPV6]),
            "arp" => Test::EtherType(ethertype::ARP),
            "ip" | "ip4" => Test::EtherType(ethertype::IPV4),
            "ip6" => Test::EtherType(ethertype::IPV6),
            "geneve" => Test::Geneve,
            "proto" => protocols(&[self.number("proto", "a protocol's number")?]),
            "syn" => Test::Flags(tcp_flag::SYN),
            "ack" => Test::Flags(tcp_flag::ACK),
            "fin" => Test::Flags(tcp_flag::FIN),
            "rst" => Test::Flags(tcp_flag::RST),
            "less" => Test::Less(self.number("less", "a number of bytes")?),
            "greater" => Test::Greater(self.number("greater", "a number of bytes")?),
            "dropped" | "drop" => Test::Dropped(self.reason()),
            "at" => {
                let name = self.argument("at", "HOST|ENI")?;
                Test::At(self.names.interfaces(name).ok_or_else(|| unknown(name))?)
            }
            "src" => self.side(Side::Source, "src")?,
            "dst" => self.side(Side::Destination, "dst")?,
            "port" | "portrange" | "host" | "net" => self.end(Side::Either, word)?,
            other => {
                return Err(wrong(
                    &format!("`{other}` is not a property of packets"),
                    PROPERTIES,
                ));
            }
        };
        let filter = Filter::Test(test);
        // `tcp port 80` says what `tcp and port 80` says.
        let shorthand = matches!(word, "tcp" | "udp")
            && matches!(
                self.peek(),
                Some("port" | "portrange" | "src" | "dst" | "host" | "net")
            );
        if shorthand {
            let more = self.property()?;
            return Ok(Filter::And(Box::new(filter), Box::new(more)));
        }
        Ok(filter)
    }

    fn side(&mut self, side: Side, word: &str) -> Result<Test, FilterError> {
        let what = self.argument(word, "port N, host ADDRESS or net BLOCK")?;
        self.end(side, what)
    }

    fn end(&mut self, side: Side, what: &str) -> Result<Test, FilterError> {
        match what {
            "port" | "portrange" => {
                let text = self.argument(what, "N or N-M")?;
                let (from, to) = text.split_once('-').unwrap_or((text, text));
                match (from.parse(), to.parse()) {
                    (Ok(from), Ok(to)) if from <= to => Ok(Test::Ports(side, from, to)),
                    _ => Err(wrong(
                        &format!("`{text}` is no port"),
                        "write a number up to 65535, or two as 8000-8080",
                    )),
                }
            }
            "host" => {
                let name = self.argument("host", "ADDRESS|NAME")?;
                let addresses = match name.parse::<IpAddr>() {
                    Ok(address) => vec![address],
                    Err(_) => self.names.addresses(name).ok_or_else(|| unknown(name))?,
                };
                let blocks = addresses.into_iter().map(Prefix::host);
                Ok(Test::Net(side, blocks.collect()))
            }
            "net" => {
                let text = self.argument("net", "BLOCK")?;
                let block = text.parse::<Prefix>().map_err(|_| {
                    wrong(&format!("`{text}` is no block"), "write it as 10.0.0.0/16")
                })?;
                Ok(Test::Net(side, vec![block]))
            }
            other => Err(wrong(
                &format!("`{other}` is not expected there"),
                "after src or dst comes port N, host ADDRESS or net BLOCK",
            )),
        }
    }

    fn number<T: std::str::FromStr>(&mut self, word: &str, what: &str) -> Result<T, FilterError> {
        let text = self.argument(word, what)?;
        text.parse()
            .map_err(|_| wrong(&format!("`{text}` is not {what}"), "write a number"))
    }

    /// A reason's name may follow; any other word belongs to what comes next.
    fn reason(&mut self) -> Option<DropReason> {
        let word = self.peek()?;
        let reason = DropReason::ALL.iter().find(|it| it.name() == word)?;
        self.at += 1;
        Some(*reason)
    }
}

fn unknown(name: &str) -> FilterError {
    wrong(
        &format!("no host, endpoint, load balancer or ENI is named `{name}`"),
        "write an address, or a name that `vpclab ps` shows",
    )
}
