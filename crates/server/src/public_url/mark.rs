//! The mark on a question that the server asks itself.
//!
//! Its answer carries in a header what arrived here: from which address, whether that is a proxy that was named, whom it
//! speaks for. Only the holder of the server key can make a mark, and each is good for a minute.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use axum::extract::{ConnectInfo, Request};
use http::{HeaderName, HeaderValue, header};
use mcp_authflow::TrustedProxies;
use mcp_authflow_jose::ServerKey;
use mcp_authflow_types::{Timestamp, hex};

/// In a question: its mark.
pub(crate) const MARK: HeaderName = HeaderName::from_static("authflow-check");
/// In the answer: what was seen.
pub(crate) const SEEN: HeaderName = HeaderName::from_static("authflow-seen");

/// The address that each question claims to come from, as a stranger might: one of TEST-NET-1 (RFC 5737), nobody's.
pub(super) const CLAIMED: &str = "192.0.2.77";

const PURPOSE: &str = "public address check";
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Makes the mark.
pub(super) fn make(key: &ServerKey, now: Timestamp) -> String {
    let moment = now.seconds().to_string();
    let digest = key.digest(PURPOSE, &[moment.as_bytes()]);
    format!("{moment}.{}", hex::encode(&digest))
}

/// Whether the request carries a mark of ours.
fn is_ours(key: &ServerKey, mark: &HeaderValue, now: Timestamp) -> bool {
    let parts = mark.to_str().ok().and_then(|mark| mark.split_once('.'));
    let Some((moment, digest)) = parts else {
        return false;
    };
    let (Ok(seconds), Some(digest)) = (moment.parse(), hex::decode::<32>(digest)) else {
        return false;
    };
    let made = Timestamp::from_seconds(seconds);
    made <= now + GOOD_FOR && now < made + GOOD_FOR && key.is_digest(PURPOSE, &[moment.as_bytes()], &digest)
}

/// What arrived of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Whether it is a proxy that was named.
    pub(super) is_named: bool,
    /// How many addresses stood in the header that says whom proxies speak for: the question itself brings one.
    pub(super) hops: usize,
    /// Whether the last of them is still the one that the question brought: then no proxy wrote there.
    pub(super) ends_with_claim: bool,
    /// Whether `Authorization` came through.
    pub(super) has_authorization: bool,
}

impl Seen {
    /// What is seen of a request, if it is one of ours. `forwarding` is the header in which proxies write whom they speak for.
    pub(crate) fn of(
        request: &Request,
        key: &ServerKey,
        proxies: &TrustedProxies,
        forwarding: &'static str,
        now: Timestamp,
    ) -> Option<Self> {
        let headers = request.headers();
        is_ours(key, headers.get(MARK)?, now).then_some(())?;
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let hops: Vec<&str> = headers
            .get_all(forwarding)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        Some(Self {
            peer: peer.ip(),
            is_named: proxies.contains(peer.ip()),
            hops: hops.len(),
            ends_with_claim: hops.last().is_some_and(|last| last.contains(CLAIMED)),
            has_authorization: headers.contains_key(header::AUTHORIZATION),
        })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {}",
            self.peer, self.is_named, self.hops, self.ends_with_claim, self.has_authorization
        )
    }
}

/// The header is not what [`Seen`] writes.
#[derive(Debug)]
pub(crate) struct NotSeen;

impl FromStr for Seen {
    type Err = NotSeen;

    fn from_str(text: &str) -> Result<Self, NotSeen> {
        fn next<T: FromStr>(words: &mut std::str::Split<'_, char>) -> Result<T, NotSeen> {
            words.next().and_then(|word| word.parse().ok()).ok_or(NotSeen)
        }
        let mut words = text.split(' ');
        Ok(Self {
            peer: next(&mut words)?,
            is_named: next(&mut words)?,
            hops: next(&mut words)?,
            ends_with_claim: next(&mut words)?,
            has_authorization: next(&mut words)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_a_fresh_mark_of_this_server_is_answered() {
        let key = ServerKey::from_bytes([7; 32]);
        let now = Timestamp::from_seconds(1_000_000);
        let proxies = TrustedProxies::parse("10.0.0.0/8").unwrap();
        let see = |mark: &str, at: i64| {
            let request = Request::get("/")
                .header(MARK, mark)
                .header("x-forwarded-for", "192.0.2.77, 203.0.113.1")
                .extension(ConnectInfo::<SocketAddr>("10.0.0.2:80".parse().unwrap()))
                .body(Body::empty())
                .unwrap();
            Seen::of(
                &request,
                &key,
                &proxies,
                "x-forwarded-for",
                Timestamp::from_seconds(at),
            )
        };
        let mark = make(&key, now);
        let seen = see(&mark, 1_000_000).unwrap();
        assert_eq!(
            (
                seen.is_named,
                seen.hops,
                seen.ends_with_claim,
                seen.has_authorization
            ),
            (true, 2, false, false)
        );
        assert_eq!(seen.to_string().parse::<Seen>().unwrap(), seen);
        assert!(see(&mark, 1_000_059).is_some() && see(&mark, 999_950).is_some());
        assert!(see(&mark, 1_000_060).is_none() && see(&mark, 999_900).is_none());
        let of_another = make(&ServerKey::from_bytes([8; 32]), now);
        for foreign in [
            &of_another,
            "",
            "1000000",
            "1000000.",
            "x.y",
            &mark.replace("1000000", "1000001"),
        ] {
            assert!(see(foreign, 1_000_000).is_none(), "{foreign}");
        }
    }
}
