//! Passwords: Argon2id (RFC 9106) with 19 MiB and two passes, on a bounded number of threads, so that a flood of
//! guesses neither takes all cores nor all memory.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// The shortest password accepted for an account, in characters (NIST SP 800-63B asks for at least 8; 15 when it is
/// the only factor is its newer advice; 12 is in between).
pub(crate) const MIN_CHARS: usize = 12;
/// The longest, in characters.
pub(crate) const MAX_CHARS: usize = 256;
/// How many hashes are computed at once: each takes 19 MiB.
const AT_ONCE: usize = 2;
/// How many may wait for their turn; at some 20 ms each, none waits for long.
const WAITING: usize = 64;

/// Too many passwords wait to be checked. Nothing was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be checked")]
pub(crate) struct Busy;

/// Why a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusablePassword {
    #[error("a password has at least 12 characters")]
    TooShort,
    #[error("a password has at most 256 characters")]
    TooLong,
}

/// Checks the length of a new password.
pub(crate) fn check_length(password: &str) -> Result<(), UnusablePassword> {
    match password.chars().count() {
        0..MIN_CHARS => Err(UnusablePassword::TooShort),
        MIN_CHARS..=MAX_CHARS => Ok(()),
        _ => Err(UnusablePassword::TooLong),
    }
}

/// Hashes a new password into a PHC string.
///
/// # Errors
/// When the system gives no randomness or memory.
pub(crate) fn hash(password: &str) -> anyhow::Result<String> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("the password cannot be hashed: {error}"))
}

/// Checks passwords, a few at a time.
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// The hash of a password that nobody has, so that a name that nobody has costs the same time.
    nobodys: Arc<std::sync::OnceLock<String>>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            nobodys: Arc::default(),
        }
    }

    /// Whether the password is the one that was hashed.
    pub(crate) async fn is_right(&self, password: &str, hash: &str) -> Result<bool, Busy> {
        let (password, hash) = (Zeroizing::new(password.to_owned()), hash.to_owned());
        self.in_turn(move || verify(&password, &hash)).await
    }

    /// Takes as long as checking a password does, and finds nothing right.
    pub(crate) async fn check_nothing(&self, password: &str) -> Result<(), Busy> {
        let (password, nobodys) = (Zeroizing::new(password.to_owned()), self.nobodys.clone());
        self.in_turn(move || {
            let hash = nobodys.get_or_init(|| hash("nobody has this password").unwrap_or_default());
            verify(&password, hash);
        })
        .await
    }

    /// Takes every place there is, so that whoever asks for one is told that there is none.
    #[cfg(test)]
    pub(super) fn take_every_place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let all = u32::try_from(AT_ONCE + WAITING).ok()?;
        self.places.clone().try_acquire_many_owned(all).ok()
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: &str) -> anyhow::Result<String> {
        let password = Zeroizing::new(password.to_owned());
        self.in_turn(move || hash(&password)).await?
    }

    /// Does the work when its turn comes. Turn and place go with the work, not with the caller: one who hangs up does not
    /// make room for another while the work goes on.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

fn verify(password: &str, hash: &str) -> bool {
    password.chars().count() <= MAX_CHARS
        && PasswordHash::new(hash).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_that_was_hashed_is_right() -> anyhow::Result<()> {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse battery").await?;
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.is_right("correct horse battery", &hash).await?);
        assert!(!passwords.is_right("correct horse batterx", &hash).await?);
        assert!(!passwords.is_right("correct horse battery", "").await?);
        assert!(!passwords.is_right(&"x".repeat(1 << 20), &hash).await?);
        Ok(())
    }

    /// TI-01: what is computed for a name that nobody has is what is computed for an account.
    #[tokio::test]
    async fn nobodys_password_costs_what_anybodys_does() -> anyhow::Result<()> {
        let passwords = Passwords::new();
        passwords.check_nothing("nobody has this password").await?;
        let costs = |hash: &str| {
            let mut parts = hash.split('$').map(str::to_owned);
            let of = [parts.nth(1), parts.next(), parts.next()];
            (of, hash.len())
        };
        let nobodys = passwords.nobodys.get().map(|hash| costs(hash));
        let hash = passwords.hash("correct horse battery").await?;
        assert_eq!(nobodys, Some(costs(&hash)));
        Ok(())
    }

    /// P12: neither callers who wait nor callers who hang up make more room than there is.
    #[tokio::test]
    async fn more_than_a_bounded_number_of_passwords_is_refused_and_not_queued() {
        let passwords = Passwords::new();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(std::sync::Mutex::new(wait));
        let mut callers = tokio::task::JoinSet::new();
        let passwords = Arc::new(passwords);
        for _ in 0..AT_ONCE + WAITING {
            let (passwords, wait) = (passwords.clone(), wait.clone());
            callers.spawn(async move {
                passwords
                    .in_turn(move || wait.lock().map(|wait| wait.recv().is_ok()).is_ok())
                    .await
            });
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.check_nothing("x").await, Err(Busy));
        // Those whose turn has come are let go of by their callers, and go on.
        while passwords.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        callers.abort_all();
        while callers.join_next().await.is_some() {}
        assert_eq!(passwords.turns.available_permits(), 0);
        drop(go);
        while passwords.turns.available_permits() < AT_ONCE {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.check_nothing("x").await, Ok(()));
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(check_length("elf zeichen"), Err(UnusablePassword::TooShort));
        assert_eq!(check_length("zwölf Zeichen"), Ok(()));
        assert_eq!(check_length(&"ä".repeat(256)), Ok(()));
        assert_eq!(check_length(&"ä".repeat(257)), Err(UnusablePassword::TooLong));
    }
}
