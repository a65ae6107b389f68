//! Laws about clients that describe themselves in a document, and about the hosts of such documents.

use std::time::Duration;

use mcp_authflow::{
    client::trust::DomainName,
    port::store::{MOST_WAITING_HOSTS, NewClientDocument, NoteHost, PutClientDocument, WAITING_HOST_SECONDS},
    record::{
        Client, ClientOrigin, ClientProfile, DocumentCopy, DocumentHostRecord, DocumentSource, HostDecision,
    },
};
use mcp_authflow_types::{ClientId, Timestamp};

use super::{
    WholeStore,
    race::{RUNNERS, one_won, race},
    sample,
    scene::add_client,
};

fn document_id() -> ClientId {
    ClientId::parse(&format!("https://{}.example/client.json", sample::client_id())).unwrap()
}

/// A copy fetched so many seconds from now, compared with the one fetched at `seen`.
fn copy(id: &ClientId, seconds: i64, seen: Option<Timestamp>) -> NewClientDocument {
    NewClientDocument {
        id: id.clone(),
        profile: ClientProfile {
            origin: ClientOrigin::MetadataDocument,
            name: Some(format!("of {seconds}")),
            document: Some(DocumentCopy {
                fetched_at: sample::in_seconds(seconds),
                fresh_until: sample::in_seconds(seconds + 60),
                changed_at: None,
                source: DocumentSource::Fetched,
            }),
            ..sample::client().profile
        },
        seen,
        ends_tokens: false,
        expires_at: Some(sample::in_seconds(86_400)),
    }
}

async fn put(store: &dyn WholeStore, new: &NewClientDocument) -> PutClientDocument {
    store.put_client_document(new, sample::now()).await.unwrap()
}

async fn load(store: &dyn WholeStore, id: &ClientId) -> Option<Client> {
    store
        .load_client(id)
        .await
        .unwrap()
        .map(|client| (*client).clone())
}

fn fetched_at(client: &Client) -> Option<Timestamp> {
    client.profile.document.map(|copy| copy.fetched_at)
}

pub async fn the_first_copy_of_a_document_adds_its_client(store: &dyn WholeStore) {
    let id = document_id();
    let mut first = copy(&id, 0, Some(sample::now()));
    assert_eq!(
        put(store, &first).await,
        PutClientDocument::Outrun,
        "there is none to compare with"
    );
    assert_eq!(load(store, &id).await, None);
    first.seen = None;
    assert_eq!(put(store, &first).await, PutClientDocument::Put);
    let added = load(store, &id).await.unwrap();
    assert_eq!((added.generation, added.secret), (0, None));
    assert_eq!(added.profile, first.profile);
    assert_eq!(added.expires_at, first.expires_at);
    assert!(added.created_at >= sample::in_seconds(-60));
}

pub async fn a_copy_replaces_only_the_one_it_was_compared_with(store: &dyn WholeStore) {
    let id = document_id();
    let first = copy(&id, 0, None);
    assert_eq!(put(store, &first).await, PutClientDocument::Put);
    let added = load(store, &id).await.unwrap();
    for seen in [None, Some(sample::in_seconds(7))] {
        assert_eq!(put(store, &copy(&id, 1, seen)).await, PutClientDocument::Outrun);
        assert_eq!(load(store, &id).await.as_ref(), Some(&added));
    }
    let mut second = copy(&id, 1, fetched_at(&added));
    second.expires_at = Some(sample::in_seconds(60));
    assert_eq!(put(store, &second).await, PutClientDocument::Put);
    let replaced = load(store, &id).await.unwrap();
    assert_eq!(replaced.profile, second.profile);
    assert_eq!(replaced.generation, added.generation);
    assert_eq!(replaced.created_at, added.created_at);
    assert_eq!(replaced.expires_at, added.expires_at, "a life is not shortened");
}

pub async fn one_of_many_racing_copies_counts(store: &dyn WholeStore) {
    let id = document_id();
    let first: Vec<_> = (0..RUNNERS)
        .map(|runner| copy(&id, 100 + i64::try_from(runner).unwrap(), None))
        .collect();
    let answers = race(RUNNERS, async |runner| put(store, &first[runner]).await);
    let winner = one_won(&answers, &PutClientDocument::Put, &PutClientDocument::Outrun);
    let counts = load(store, &id).await.unwrap();
    assert_eq!(counts.profile, first[winner].profile);

    let seen = fetched_at(&counts);
    let second: Vec<_> = (0..RUNNERS)
        .map(|runner| NewClientDocument {
            ends_tokens: true,
            ..copy(&id, 200 + i64::try_from(runner).unwrap(), seen)
        })
        .collect();
    let answers = race(RUNNERS, async |runner| put(store, &second[runner]).await);
    let winner = one_won(&answers, &PutClientDocument::Put, &PutClientDocument::Outrun);
    let counts = load(store, &id).await.unwrap();
    assert_eq!(counts.profile, second[winner].profile);
    assert_eq!(counts.generation, 1, "tokens end once");
}

pub async fn a_pinned_copy_keeps_its_client_for_good(store: &dyn WholeStore) {
    let id = document_id();
    assert_eq!(put(store, &copy(&id, 0, None)).await, PutClientDocument::Put);
    let mut pinned = copy(&id, 1, Some(sample::in_seconds(0)));
    pinned.seen = fetched_at(&load(store, &id).await.unwrap());
    pinned.expires_at = None;
    assert_eq!(put(store, &pinned).await, PutClientDocument::Put);
    let kept = load(store, &id).await.unwrap();
    assert_eq!(kept.expires_at, None);
    // A copy that is fetched later shortens nothing either.
    assert_eq!(
        put(store, &copy(&id, 2, fetched_at(&kept))).await,
        PutClientDocument::Put
    );
    assert_eq!(load(store, &id).await.unwrap().expires_at, None);
}

pub async fn a_document_leaves_clients_of_another_origin_alone(store: &dyn WholeStore) {
    for mut other in [sample::client(), sample::registered_client()] {
        other.id = document_id();
        add_client(store, &other).await;
        for seen in [None, Some(sample::now())] {
            assert_eq!(
                put(store, &copy(&other.id, 0, seen)).await,
                PutClientDocument::Outrun
            );
            assert_eq!(load(store, &other.id).await.as_ref(), Some(&other));
        }
    }
}

pub async fn a_removed_document_client_continues_its_generation(store: &dyn WholeStore) {
    let id = document_id();
    assert_eq!(put(store, &copy(&id, 0, None)).await, PutClientDocument::Put);
    let first = load(store, &id).await.unwrap();
    assert!(store.remove_client(&id, sample::now()).await.unwrap());
    let stale = copy(&id, 1, fetched_at(&first));
    assert_eq!(put(store, &stale).await, PutClientDocument::Outrun);
    assert_eq!(load(store, &id).await, None);
    assert_eq!(put(store, &copy(&id, 1, None)).await, PutClientDocument::Put);
    assert!(load(store, &id).await.unwrap().generation > first.generation);
}

fn host(name: &str) -> DomainName {
    DomainName::parse(name).unwrap()
}

/// What is known of a host, asked for beside one that is never there.
async fn known(store: &dyn WholeStore, name: &DomainName) -> Option<DocumentHostRecord> {
    let asked = [host("nobody.example"), name.clone()];
    let mut found = store.load_document_hosts(&asked).await.unwrap();
    assert!(found.len() <= 1, "{found:?}");
    found.pop()
}

pub async fn a_host_waits_until_somebody_decides(store: &dyn WholeStore) {
    let (asked, unasked) = (host("asked.example"), host("unasked.example:8443"));
    let now = sample::now();
    assert_eq!(known(store, &asked).await, None);
    assert_eq!(
        store.note_document_host(&asked, now).await.unwrap(),
        NoteHost::Noted
    );
    let later = now + Duration::from_secs(5);
    assert_eq!(
        store.note_document_host(&asked, later).await.unwrap(),
        NoteHost::Known
    );
    let mut record = DocumentHostRecord {
        host: asked.clone(),
        asked_at: now,
        decision: None,
    };
    assert_eq!(known(store, &asked).await.as_ref(), Some(&record));
    for decision in HostDecision::ALL {
        store.decide_document_host(&asked, decision, later).await.unwrap();
        record.decision = Some((decision, later));
        assert_eq!(known(store, &asked).await.as_ref(), Some(&record));
    }
    assert_eq!(
        store.note_document_host(&asked, later).await.unwrap(),
        NoteHost::Known
    );
    store
        .decide_document_host(&unasked, HostDecision::Allowed, later)
        .await
        .unwrap();
    let decided = DocumentHostRecord {
        host: unasked,
        asked_at: later,
        decision: Some((HostDecision::Allowed, later)),
    };
    let both = [record.host.clone(), decided.host.clone()];
    assert_eq!(store.load_document_hosts(&both).await.unwrap().len(), 2);
    assert_eq!(store.list_document_hosts().await.unwrap(), [record, decided]);
}

pub async fn only_so_many_hosts_wait_and_only_for_so_long(store: &dyn WholeStore) {
    let long_ago = sample::in_seconds(-WAITING_HOST_SECONDS);
    for number in 0..MOST_WAITING_HOSTS {
        let name = host(&format!("h{number}.example"));
        assert_eq!(
            store.note_document_host(&name, long_ago).await.unwrap(),
            NoteHost::Noted
        );
    }
    let another = host("another.example");
    let a_moment_later = long_ago + Duration::from_secs(1);
    assert_eq!(
        store.note_document_host(&another, a_moment_later).await.unwrap(),
        NoteHost::Full
    );
    store
        .decide_document_host(&host("h0.example"), HostDecision::Denied, long_ago)
        .await
        .unwrap();
    // Those that waited are forgotten by whoever comes then; what was decided is not.
    let now = sample::now();
    let _ = store.note_document_host(&another, now).await.unwrap();
    assert_eq!(
        store
            .note_document_host(&host("third.example"), now)
            .await
            .unwrap(),
        NoteHost::Noted
    );
    let left = store.list_document_hosts().await.unwrap();
    let left: Vec<&str> = left.iter().map(|record| record.host.as_str()).collect();
    assert!(
        left.len() <= 3 && left.contains(&"h0.example") && left.contains(&"third.example"),
        "{left:?}"
    );
}
