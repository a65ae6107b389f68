//! Whole fetches against peers on loopback that do what no honest server would.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod address;
mod answer;
mod flight;
mod peer;
mod time;
mod tls;

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use self::peer::Peer;
use crate::{
    Builder, Document, FetchError, Fetcher, Freshness, Limits,
    clock::Clock,
    resolve::{Resolver, Resolving},
};

/// Long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// May ask this computer, and takes its time.
fn local() -> Builder {
    Fetcher::builder().dangerous_allow_loopback().deadline(PATIENCE)
}

async fn get(fetcher: &Fetcher, url: &str) -> Result<Document, FetchError> {
    fetcher.get(url, Limits::METADATA, Freshness::Cached).await
}

async fn refresh(fetcher: &Fetcher, url: &str) -> Result<Document, FetchError> {
    fetcher.get(url, Limits::METADATA, Freshness::Refresh).await
}

fn body(document: Result<Document, FetchError>) -> String {
    String::from_utf8(document.unwrap().body.to_vec()).unwrap()
}

/// A clock that stands until it is moved.
#[derive(Clone, Default)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Clock::new(move || Duration::from_secs(seconds.load(Ordering::SeqCst)))
    }
}

/// A resolver that gives the n-th answer to the n-th question, the last one for ever, and counts.
#[derive(Clone)]
struct Names {
    answers: Arc<Vec<Vec<IpAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Names {
    fn answering(answers: &[&[&str]]) -> Self {
        let answers = answers
            .iter()
            .map(|answer| answer.iter().map(|one| one.parse().unwrap()).collect());
        Self {
            answers: Arc::new(answers.collect()),
            asked: Arc::default(),
        }
    }

    fn resolver(&self) -> Resolver {
        let names = self.clone();
        Resolver::new(move |_| -> Resolving {
            let nth = names.asked.fetch_add(1, Ordering::SeqCst);
            let answer = names.answers.get(nth).or(names.answers.last()).cloned();
            Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
