//! A name server of our own: it answers by a table, and as badly as it is told to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// What a datagram holds without extensions (RFC 1035 §4.2.1); for more we say so, and are asked again over TCP.
const MAX_DATAGRAM: usize = 512;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const TYPE_CNAME: u16 = 5;

/// What is answered to a question for a name.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses, of the kind that was asked for; none of that kind is "no data".
    Addresses(Vec<IpAddr>),
    /// Aliases, each of the next (RFC 1035 §3.3.1), and the addresses of the last; a loop may have none.
    Alias(Vec<String>, Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server failed.
    Failure,
    /// Nothing, for ever.
    Silence,
    /// An answer that takes this long.
    Late(Duration, Vec<IpAddr>),
}

impl Answer {
    /// These addresses, as they are written.
    pub(crate) fn of(addresses: &[&str]) -> Self {
        Self::Addresses(parse(addresses))
    }

    /// A chain of so many aliases that ends at these addresses.
    pub(crate) fn chain(length: usize, addresses: &[&str]) -> Self {
        let names = (0..length).map(|number| format!("alias-{number}.test"));
        Self::Alias(names.collect(), parse(addresses))
    }
}

/// Addresses that are written down in this program.
#[expect(clippy::unwrap_used, reason = "they are constants of this program")]
pub(crate) fn parse(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

#[derive(Default)]
struct Name {
    /// The n-th question gets the n-th answer, and every later one the last.
    answers: Vec<Answer>,
    asked: HashMap<u16, usize>,
}

#[derive(Default)]
struct Table {
    names: HashMap<String, Name>,
    /// Names under these domains have one answer.
    domains: HashMap<String, Answer>,
    connections: u64,
}

/// The name server, for as long as its runtime lives. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DnsStub(Arc<Mutex<Table>>);

impl DnsStub {
    /// Listens at port 53 of an address of the namespace, by UDP and by TCP.
    pub(crate) async fn start(address: &str) -> Result<Self> {
        let stub = Self(Arc::default());
        let place = format!("{address}:53");
        let datagrams = UdpSocket::bind(&place)
            .await
            .with_context(|| format!("cannot listen at {place}"))?;
        let connections = TcpListener::bind(&place).await?;
        tokio::spawn(stub.clone().answer_datagrams(Arc::new(datagrams)));
        tokio::spawn(stub.clone().answer_connections(connections));
        Ok(stub)
    }

    /// Says what a name is answered with: the n-th question for one kind of address with the n-th answer.
    pub(crate) fn name(&self, name: &str, answers: Vec<Answer>) {
        let name_ = Name {
            answers,
            asked: HashMap::new(),
        };
        self.table().names.insert(name.to_ascii_lowercase(), name_);
    }

    /// Says what every name of a domain is answered with that has no answer of its own.
    pub(crate) fn domain(&self, domain: &str, answer: Answer) {
        self.table().domains.insert(domain.to_owned(), answer);
    }

    /// How often the IPv4 addresses of this name were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let table = self.table();
        let name = table.names.get(name);
        name.and_then(|name| name.asked.get(&TYPE_A))
            .copied()
            .unwrap_or(0)
    }

    /// How many connections were made to us: they are the resolver's, and not to be taken for a fetch.
    pub(crate) fn connections(&self) -> u64 {
        self.table().connections
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer_datagrams(self, socket: Arc<UdpSocket>) {
        let mut packet = [0; 2_048];
        while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
            let Some(question) = Question::read(&packet[..length]) else {
                continue;
            };
            let (stub, socket) = (self.clone(), socket.clone());
            tokio::spawn(async move {
                if let Some(mut answer) = stub.answer(&question).await {
                    if answer.len() > MAX_DATAGRAM {
                        answer = question.truncated();
                    }
                    // Who does not wait any more does not listen.
                    let _ = socket.send_to(&answer, peer).await;
                }
            });
        }
    }

    async fn answer_connections(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.table().connections += 1;
            let stub = self.clone();
            tokio::spawn(async move {
                // A broken connection is the resolver's own business.
                let _ = stub.answer_connection(stream).await;
            });
        }
    }

    async fn answer_connection(&self, mut stream: TcpStream) -> Result<()> {
        // Both kinds of address may be asked for on one connection.
        for _ in 0..4 {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; length.into()];
            stream.read_exact(&mut packet).await?;
            let Some(question) = Question::read(&packet) else {
                break;
            };
            let Some(answer) = self.answer(&question).await else {
                break;
            };
            stream.write_u16(u16::try_from(answer.len())?).await?;
            stream.write_all(&answer).await?;
        }
        Ok(())
    }

    async fn answer(&self, question: &Question) -> Option<Vec<u8>> {
        let answer = self.look_up(question);
        Some(match answer {
            Answer::Addresses(addresses) => question.answered(&[], &addresses),
            Answer::Alias(names, addresses) => question.answered(&names, &addresses),
            Answer::NoSuchName => question.refused(3),
            Answer::Failure => question.refused(2),
            Answer::Silence => return None,
            Answer::Late(time, addresses) => {
                tokio::time::sleep(time).await;
                question.answered(&[], &addresses)
            }
        })
    }

    fn look_up(&self, question: &Question) -> Answer {
        let mut table = self.table();
        if let Some(name) = table.names.get_mut(&question.name) {
            let asked = name.asked.entry(question.kind).or_default();
            let nth = *asked;
            *asked += 1;
            let answer = name.answers.get(nth).or(name.answers.last());
            return answer.cloned().unwrap_or(Answer::NoSuchName);
        }
        let mut domain = question.name.as_str();
        while let Some((_, parent)) = domain.split_once('.') {
            if let Some(answer) = table.domains.get(parent) {
                return answer.clone();
            }
            domain = parent;
        }
        Answer::NoSuchName
    }
}

/// One question (RFC 1035 §4.1.2), with what its answer repeats of it.
struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
    /// As it came: name, type, class.
    bytes: Vec<u8>,
}

impl Question {
    fn read(packet: &[u8]) -> Option<Self> {
        let id = [*packet.first()?, *packet.get(1)?];
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(std::str::from_utf8(packet.get(at..at + length)?).ok()?);
            at += length;
        }
        let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
        Some(Self {
            id,
            name: labels.join(".").to_ascii_lowercase(),
            kind,
            bytes: packet.get(12..at + 4)?.to_vec(),
        })
    }

    /// Head and question of an answer: authoritative, with recursion; `flags` are truncation and the code.
    fn head(&self, flags: u16, answers: u16) -> Vec<u8> {
        let mut packet = self.id.to_vec();
        for word in [0x8580 | flags, 1, answers, 0, 0] {
            packet.extend(word.to_be_bytes());
        }
        packet.extend(&self.bytes);
        packet
    }

    fn refused(&self, code: u16) -> Vec<u8> {
        self.head(code, 0)
    }

    fn truncated(&self) -> Vec<u8> {
        self.head(0x0200, 0)
    }

    fn answered(&self, aliases: &[String], addresses: &[IpAddr]) -> Vec<u8> {
        let mut records: Vec<(&str, u16, Vec<u8>)> = Vec::new();
        let mut owner = self.name.as_str();
        for alias in aliases {
            records.push((owner, TYPE_CNAME, spell(alias)));
            owner = alias;
        }
        for address in addresses {
            match (address, self.kind) {
                (IpAddr::V4(address), TYPE_A) => records.push((owner, TYPE_A, address.octets().to_vec())),
                (IpAddr::V6(address), TYPE_AAAA) => {
                    records.push((owner, TYPE_AAAA, address.octets().to_vec()));
                }
                _ => {}
            }
        }
        let mut packet = self.head(0, u16::try_from(records.len()).unwrap_or(u16::MAX));
        for (owner, kind, data) in records {
            packet.extend(spell(owner));
            packet.extend(kind.to_be_bytes());
            // Class IN, and a time to live of nothing.
            packet.extend([0, 1, 0, 0, 0, 0]);
            packet.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            packet.extend(data);
        }
        packet
    }
}

/// A name as it stands in a packet, uncompressed.
fn spell(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn question(name: &str, kind: u16) -> Question {
        let mut packet = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(spell(name));
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        Question::read(&packet).unwrap()
    }

    #[test]
    fn a_question_is_read_and_its_answer_names_the_addresses_of_its_kind() {
        let question = question("A.Test", TYPE_A);
        assert_eq!((question.name.as_str(), question.kind), ("a.test", TYPE_A));
        let answer = question.answered(&["b.test".to_owned()], &parse(&["8.8.4.4", "::1"]));
        // Our number; an answer; one question, two records.
        assert_eq!(answer[..8], [7, 9, 0x85, 0x80, 0, 1, 0, 2]);
        assert!(answer.ends_with(&[0, 4, 8, 8, 4, 4]));
    }

    #[test]
    fn the_nth_question_gets_the_nth_answer() {
        let stub = DnsStub(Arc::default());
        stub.name(
            "r.test",
            vec![Answer::of(&["8.8.8.8"]), Answer::of(&["10.0.0.1"])],
        );
        let seen: Vec<_> = (0..3)
            .map(|_| stub.look_up(&question("r.test", TYPE_A)))
            .collect();
        let seen = format!("{seen:?}");
        assert_eq!(seen.matches("8.8.8.8").count(), 1, "{seen}");
        assert_eq!(seen.matches("10.0.0.1").count(), 2, "{seen}");
        assert_eq!(stub.asked("r.test"), 3);
    }
}
