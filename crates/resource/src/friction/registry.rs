//! The friction of all clients of a server: one controller and one lock for each, made when it first calls.
//!
//! There is room for a bounded number of clients. The one that has not called for longest makes room for a new one; what
//! matters of it is remembered for a while ([`Carry`]), in a bounded number of entries.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashlink::LinkedHashMap;

use super::{
    controller::FrictionController,
    event::{FrictionEvent, FrictionObserver},
    penalty::{Carry, Penalties, SavedState, Terms},
    plan::Plan,
    registry_builder::RegistryBuilder,
    result::FrictionResult,
    status::{ClientStatus, ControllerStatus, RegistryStatus},
};
use crate::clock::Monotonic;

/// The friction of all clients of a server. Cheap to clone: clones are the same registry.
///
/// There is no registry for the whole process: hand clones to whoever needs one, such as
/// [`FrictionLayer`](super::FrictionLayer) and [`FrictionGuard`](super::FrictionGuard). State lives in the process and
/// ends with it.
///
/// ```
/// use mcp_authflow_resource::friction::{FrictionRegistry, ToolFrictionConfig};
///
/// let registry = FrictionRegistry::builder()
///     .tool("delete", ToolFrictionConfig { target_rate: 0.1, ..ToolFrictionConfig::default() })
///     .build()?;
/// let result = registry.check_and_record("alice", "delete");
/// assert!(result.allowed);
/// assert_eq!(result.message(), "Allowed: friction 0.00, cost 0.5");
/// # Ok::<(), mcp_authflow_resource::friction::InvalidFriction>(())
/// ```
#[derive(Clone)]
pub struct FrictionRegistry {
    inner: Arc<Inner>,
}

struct Inner {
    plan: Arc<Plan>,
    max_clients: usize,
    penalty_ttl: Duration,
    clock: Monotonic,
    observer: Option<Arc<dyn FrictionObserver>>,
    table: Mutex<Table>,
}

/// The clients, those that called last at the back.
///
/// Locks are taken in one order: the table's, then a client's, which is taken while the table is held. So a client that
/// is being pushed out is one whose last call has been counted.
struct Table {
    clients: LinkedHashMap<Arc<str>, Arc<Mutex<FrictionController>>>,
    saved: Penalties,
}

/// What the table did to make room; told when the locks are given back.
enum Move {
    Captured { key: Arc<str>, peak: f64 },
    Evicted { key: Arc<str>, total: usize },
    Restored { key: Arc<str>, peak: f64 },
    Created { key: Arc<str>, total: usize },
}

impl FrictionRegistry {
    /// Begins a registry with the default settings and no tools.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    pub(super) fn new(
        plan: Plan,
        max_clients: usize,
        terms: Terms,
        clock: Monotonic,
        observer: Option<Arc<dyn FrictionObserver>>,
    ) -> Self {
        let table = Table {
            clients: LinkedHashMap::new(),
            saved: Penalties::new(terms),
        };
        Self {
            inner: Arc::new(Inner {
                plan: Arc::new(plan),
                max_clients,
                penalty_ttl: terms.ttl,
                clock,
                observer,
                table: Mutex::new(table),
            }),
        }
    }

    /// Whether the tool has friction.
    pub fn is_configured(&self, tool: &str) -> bool {
        self.inner.plan.position(tool).is_some()
    }

    /// Says what a call would meet; counts nothing, but makes the client a recent one.
    pub fn check(&self, key: &str, tool: &str) -> FrictionResult {
        let now = self.inner.clock.now();
        self.with_client(key, now, |client| client.check(tool, now))
    }

    /// Checks a call and, if it is allowed, counts it. The result is what the check said before.
    pub fn check_and_record(&self, key: &str, tool: &str) -> FrictionResult {
        let now = self.inner.clock.now();
        let (result, saturations) = self.with_client(key, now, |client| {
            let result = client.check(tool, now);
            let mut saturations = Vec::new();
            if result.allowed {
                client.record_call(tool, now);
                saturations = client.drain_saturations();
            }
            (result, saturations)
        });
        let client_id = key;
        self.tell(&FrictionEvent::Check {
            client_id,
            result: &result,
        });
        if !result.allowed {
            self.tell(&FrictionEvent::Block {
                client_id,
                result: &result,
            });
            return result;
        }
        if result.justification_required {
            self.tell(&FrictionEvent::Justification {
                client_id,
                result: &result,
            });
        }
        for saturation in &saturations {
            self.tell(&FrictionEvent::Saturation {
                client_id,
                tool_name: &saturation.tool_name,
                effective_target: saturation.effective_target,
                original_target: saturation.original_target,
            });
        }
        result
    }

    /// Tells of a call that a check would have allowed and somebody else refused.
    pub(super) fn tell_refused(&self, client_id: &str, result: &FrictionResult) {
        self.tell(&FrictionEvent::Check { client_id, result });
        self.tell(&FrictionEvent::Block { client_id, result });
    }

    /// Counts a call of a tool that has no friction, or whose friction is not asked about.
    pub fn record_unconfigured(&self, key: &str, tool: &str) {
        let now = self.inner.clock.now();
        self.with_client(key, now, |client| client.record_call_unconfigured(tool, now));
    }

    /// How a client stands; `None` when it is not counted at the moment. It does not make the client a recent one.
    pub fn client_status(&self, key: &str) -> Option<ControllerStatus> {
        let client = self.inner.table().clients.get(key).cloned()?;
        let status = lock(&client).status(self.inner.clock.now());
        Some(status)
    }

    /// How all clients stand, at most `limit` of them, those that called last first.
    pub fn status(&self, limit: usize) -> RegistryStatus {
        let table = self.inner.table();
        let recent = table.clients.iter().rev().take(limit);
        let recent: Vec<_> = recent
            .map(|(key, client)| (Arc::clone(key), Arc::clone(client)))
            .collect();
        let (total_clients, saved_clients) = (table.clients.len(), table.saved.count());
        drop(table);
        let now = self.inner.clock.now();
        let status = |(key, client): (Arc<str>, Arc<Mutex<FrictionController>>)| ClientStatus {
            key: key.to_string(),
            status: lock(&client).status(now),
        };
        RegistryStatus {
            total_clients,
            saved_clients,
            clients: recent.into_iter().map(status).collect(),
        }
    }

    /// How many clients are counted at the moment.
    pub fn client_count(&self) -> usize {
        self.inner.table().clients.len()
    }

    /// How many clients that had to make room are remembered.
    pub fn saved_count(&self) -> usize {
        self.inner.table().saved.count()
    }

    /// Sets what a client may spend; to the default when no budget is named.
    pub fn reset_budget(&self, key: &str, budget: Option<f64>) {
        let now = self.inner.clock.now();
        self.with_client(key, now, |client| client.reset_budget(budget, now));
    }

    /// Forgets everything about a client, as if it had never called. Says whether there was anything to forget.
    pub fn forget(&self, key: &str) -> bool {
        let now = self.inner.clock.now();
        let mut table = self.inner.table();
        let was_saved = table.saved.take(key, now).is_some();
        table.clients.remove(key).is_some() || was_saved
    }

    fn with_client<R>(&self, key: &str, now: Duration, act: impl FnOnce(&mut FrictionController) -> R) -> R {
        let mut moves = Vec::new();
        let result = {
            let mut table = self.inner.table();
            let client = self.inner.client(&mut table, key, now, &mut moves);
            let mut client = lock(&client);
            drop(table);
            act(&mut client)
        };
        for done in &moves {
            self.tell(&done.event(&self.inner));
        }
        result
    }

    fn tell(&self, event: &FrictionEvent<'_>) {
        event.trace();
        if let Some(observer) = &self.inner.observer {
            observer.observe(event);
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    fn client(
        &self,
        table: &mut Table,
        key: &str,
        now: Duration,
        moves: &mut Vec<Move>,
    ) -> Arc<Mutex<FrictionController>> {
        if let Some(client) = table.clients.to_back(key) {
            return Arc::clone(client);
        }
        while table.clients.len() >= self.max_clients {
            let Some((key, client)) = table.clients.pop_front() else {
                break;
            };
            evict(table, key, &client, now, moves);
        }
        let key: Arc<str> = Arc::from(key);
        let controller = self.make(table, &key, now, moves);
        let client = Arc::new(Mutex::new(controller));
        table.clients.insert(Arc::clone(&key), Arc::clone(&client));
        let total = table.clients.len();
        moves.push(Move::Created { key, total });
        client
    }

    /// A new client, or one that comes back.
    fn make(
        &self,
        table: &mut Table,
        key: &Arc<str>,
        now: Duration,
        moves: &mut Vec<Move>,
    ) -> FrictionController {
        let plan = Arc::clone(&self.plan);
        let Some(saved) = table.saved.take(key, now) else {
            return FrictionController::of_plan(plan);
        };
        let controller = match saved.state {
            SavedState::Ledger(ledger) => FrictionController::resume(plan, ledger),
            SavedState::Friction(levels) => {
                let mut controller = FrictionController::of_plan(plan);
                controller.restore(levels.iter().map(|(tool, level)| (&**tool, *level)), now);
                controller
            }
        };
        if saved.is_penalty {
            let peak = controller.peak_friction(now);
            moves.push(Move::Restored {
                key: Arc::clone(key),
                peak,
            });
        }
        controller
    }
}

/// Keeps what is to be kept of a client that has just left.
fn evict(
    table: &mut Table,
    key: Arc<str>,
    client: &Mutex<FrictionController>,
    now: Duration,
    moves: &mut Vec<Move>,
) {
    let terms = *table.saved.terms();
    if !terms.ttl.is_zero() {
        let controller = lock(client);
        let peak = controller.peak_friction(now);
        let is_penalty = peak >= terms.min_friction;
        let state = match terms.carry {
            Carry::Everything => Some(SavedState::Ledger(controller.ledger().clone())),
            Carry::Friction => is_penalty.then(|| {
                let mut levels: Vec<_> = controller.friction_levels().into_iter().collect();
                levels.retain(|(_, friction)| *friction >= terms.min_friction);
                SavedState::Friction(levels)
            }),
        };
        if let Some(state) = state {
            table.saved.save(Arc::clone(&key), state, is_penalty, now);
        }
        if is_penalty {
            moves.push(Move::Captured {
                key: Arc::clone(&key),
                peak,
            });
        }
    }
    let total = table.clients.len();
    moves.push(Move::Evicted { key, total });
}

impl Move {
    fn event<'a>(&'a self, registry: &Inner) -> FrictionEvent<'a> {
        match self {
            Self::Captured { key, peak } => FrictionEvent::PenaltyCaptured {
                client_id: key,
                peak_friction: *peak,
                ttl: registry.penalty_ttl,
            },
            Self::Evicted { key, total } => FrictionEvent::ClientEvicted {
                client_id: key,
                total_clients: *total,
            },
            Self::Restored { key, peak } => FrictionEvent::PenaltyRestored {
                client_id: key,
                peak_friction: *peak,
            },
            Self::Created { key, total } => FrictionEvent::ClientCreated {
                client_id: key,
                total_clients: *total,
            },
        }
    }
}

/// A thread that panicked while it held the lock left numbers that are each right by themselves.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for FrictionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrictionRegistry")
            .field("plan", &self.inner.plan)
            .field("max_clients", &self.inner.max_clients)
            .finish_non_exhaustive()
    }
}
