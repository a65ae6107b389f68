//! Everyone's notes, and what may be done with one's own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use mcp_authflow_resource::{Caller, InsufficientScope};

/// The most notes of one person.
const MAX_NOTES: usize = 100;

/// The notes of each person, by the `sub` of their tokens; gone when the server stops.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<BTreeMap<String, BTreeMap<usize, String>>>>);

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<usize, String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handler that takes a [`Caller`] knows who is calling; that they hold `notes:read` was checked by the layer.
pub(crate) async fn list(caller: Caller, State(notes): State<Notes>) -> Json<BTreeMap<usize, String>> {
    let notes = notes.lock();
    Json(notes.get(owner(&caller)).cloned().unwrap_or_default())
}

/// One that needs more says so in its first line. The refusal is the 403 from which a client learns what to ask its
/// person for.
pub(crate) async fn add(
    caller: Caller,
    State(notes): State<Notes>,
    text: String,
) -> Result<(StatusCode, String), InsufficientScope> {
    caller.require_scope("notes:write")?;
    let mut notes = notes.lock();
    let mine = notes.entry(owner(&caller).to_owned()).or_default();
    if mine.len() >= MAX_NOTES {
        return Ok((StatusCode::CONFLICT, format!("{MAX_NOTES} notes are enough")));
    }
    let number = mine.last_key_value().map_or(1, |(last, _)| last + 1);
    mine.insert(number, text);
    Ok((StatusCode::CREATED, number.to_string()))
}

pub(crate) async fn remove(
    caller: Caller,
    State(notes): State<Notes>,
    Path(number): Path<usize>,
) -> Result<StatusCode, InsufficientScope> {
    caller.require_scope("notes:write")?;
    let mut notes = notes.lock();
    let removed = notes
        .get_mut(owner(&caller))
        .and_then(|mine| mine.remove(&number));
    Ok(match removed {
        Some(_) => StatusCode::NO_CONTENT,
        // Somebody else's note is none of yours.
        None => StatusCode::NOT_FOUND,
    })
}

fn owner(caller: &Caller) -> &str {
    caller.subject().unwrap_or_default()
}
