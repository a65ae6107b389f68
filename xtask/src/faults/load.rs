//! What one task does until the server is gone, and how it settles what stayed open.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::history::{Answer, Call, FamilyId, History};
use super::random::Random;
use crate::crowd::caller::{Caller, Code};

/// Access tokens live ten minutes; after nine nobody asks about them any more.
const ASKABLE: Duration = Duration::from_secs(9 * 60);
/// Longer than two rounds take.
const LATELY: Duration = Duration::from_secs(10);
/// More families than this are not begun, since a sign-in costs a password hash.
const MAX_FAMILIES: usize = 30;

/// Far more than a task manages before the server is killed.
const MAX_ACTS: usize = 100_000;

/// An access token and when it was granted.
struct Access {
    token: String,
    granted: Instant,
}

/// What the task knows of a family.
struct Family {
    id: FamilyId,
    access: Vec<Access>,
    /// The newest refresh token; `None` for a machine's token.
    refresh: Option<String>,
    /// The one that `refresh` succeeded.
    previous: Option<String>,
    /// The one before that: its successor was used, so it must never be answered again.
    spent: Option<String>,
    /// The code that it began with.
    code: Option<Code>,
    /// A rotation of `refresh` had no answer.
    is_in_doubt: bool,
}

/// A task and all that it has been told so far.
pub(super) struct Worker {
    caller: Caller,
    random: Random,
    families: Vec<Family>,
    /// A code whose redemption had no answer.
    open_code: Option<(FamilyId, Code)>,
}

/// Which tokens are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Every one that still lives.
    Everything,
    /// The new ones and one in twenty of the others, so that a long run does not only ask.
    NewAndSomeOld,
}

/// The server does not answer any more.
struct Gone;

impl Worker {
    pub(super) fn new(caller: Caller, random: Random) -> Self {
        Self {
            caller,
            random,
            families: Vec::new(),
            open_code: None,
        }
    }

    /// Works until the server is gone.
    pub(super) async fn work(&mut self, history: &History) -> Result<()> {
        for _ in 0..MAX_ACTS {
            if self.act(history).await?.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn act(&mut self, history: &History) -> Result<Result<(), Gone>> {
        let Some(index) = self.random_family() else {
            return self.begin(history).await;
        };
        match self.random.below(100) {
            0..25 => self.issue(history).await,
            25..40 => self.begin(history).await,
            40..70 => self.rotate(history, index).await,
            70..75 => self.rotate_twice_at_once(history, index).await,
            75..82 => self.revoke_access(history, index).await,
            82..85 => self.revoke_family(history, index).await,
            _ => self.introspect(history, index).await,
        }
    }

    fn random_family(&mut self) -> Option<usize> {
        if self.families.is_empty() {
            None
        } else {
            Some(self.random.below(self.families.len()))
        }
    }

    /// A machine's token, a family of its own.
    async fn issue(&mut self, history: &History) -> Result<Result<(), Gone>> {
        let (id, asked) = (history.new_family(), history.asked());
        let answer = self.caller.issue().await?;
        history.answered(id, asked, Call::Issue, answer.clone());
        match answer {
            Answer::Granted { access, .. } => {
                self.families.push(Family::new(id, access, None, None));
                Ok(Ok(()))
            }
            Answer::Refused(error) => anyhow::bail!("client_credentials was refused: {error}"),
            _ => Ok(Err(Gone)),
        }
    }

    /// A person signs in: a family with a refresh token.
    async fn begin(&mut self, history: &History) -> Result<Result<(), Gone>> {
        let people = self
            .families
            .iter()
            .filter(|family| family.refresh.is_some())
            .count();
        if people >= MAX_FAMILIES {
            return self.issue(history).await;
        }
        let verifier = format!("{:064x}", u128::from(self.random.next()));
        let Some(code) = self.caller.authorize(&verifier).await? else {
            return Ok(Err(Gone));
        };
        let id = history.new_family();
        self.open_code = Some((id, code));
        self.redeem_open_code(history).await
    }

    async fn redeem_open_code(&mut self, history: &History) -> Result<Result<(), Gone>> {
        let Some((id, code)) = self.open_code.clone() else {
            return Ok(Ok(()));
        };
        let asked = history.asked();
        let answer = self.caller.redeem(&code).await?;
        history.answered(
            id,
            asked,
            Call::Redeem {
                code: code.code.clone(),
            },
            answer.clone(),
        );
        match answer {
            Answer::Granted { access, refresh } => {
                self.families.push(Family::new(id, access, refresh, Some(code)));
            }
            // It was redeemed, and the answer was lost: then the person signs in again.
            Answer::Refused(_) => {}
            _ => return Ok(Err(Gone)),
        }
        self.open_code = None;
        Ok(Ok(()))
    }

    async fn rotate(&mut self, history: &History, index: usize) -> Result<Result<(), Gone>> {
        let Some(refresh) = self.families[index].refresh.clone() else {
            return Ok(Ok(()));
        };
        let family = &mut self.families[index];
        let answer = rotate(&self.caller, history, family.id, &refresh).await?;
        Ok(family.take(&refresh, answer))
    }

    /// What happens when two processes share a token: both get the same successor.
    async fn rotate_twice_at_once(&mut self, history: &History, index: usize) -> Result<Result<(), Gone>> {
        let Some(refresh) = self.families[index].refresh.clone() else {
            return Ok(Ok(()));
        };
        let id = self.families[index].id;
        let (one, two) = tokio::join!(
            rotate(&self.caller, history, id, &refresh),
            rotate(&self.caller, history, id, &refresh)
        );
        let family = &mut self.families[index];
        let first = family.take(&refresh, one?);
        // The second answer names the same tokens, or the checker finds it.
        let second = family.take(&refresh, two?);
        Ok(first.and(second))
    }

    async fn revoke_access(&mut self, history: &History, index: usize) -> Result<Result<(), Gone>> {
        let family = &mut self.families[index];
        // A machine's tokens are another client's, which revokes only its own.
        if family.refresh.is_none() {
            return Ok(Ok(()));
        }
        let Some(access) = family.access.last() else {
            return Ok(Ok(()));
        };
        let (token, asked) = (access.token.clone(), history.asked());
        let answer = self.caller.revoke(&token).await?;
        history.answered(family.id, asked, Call::RevokeAccess { token }, answer.clone());
        Ok(if answer == Answer::Unknown {
            Err(Gone)
        } else {
            Ok(())
        })
    }

    async fn revoke_family(&mut self, history: &History, index: usize) -> Result<Result<(), Gone>> {
        let family = &mut self.families[index];
        let Some(refresh) = family.refresh.clone() else {
            return Ok(Ok(()));
        };
        let asked = history.asked();
        let answer = self.caller.revoke(&refresh).await?;
        history.answered(family.id, asked, Call::RevokeFamily { refresh }, answer.clone());
        if answer == Answer::Unknown {
            return Ok(Err(Gone));
        }
        family.end();
        Ok(Ok(()))
    }

    async fn introspect(&mut self, history: &History, index: usize) -> Result<Result<(), Gone>> {
        let family = &self.families[index];
        let Some(access) = family.access.last() else {
            return Ok(Ok(()));
        };
        introspect(&self.caller, history, family.id, &access.token).await
    }

    /// After a restart: finishes what had no answer, the way a client would.
    pub(super) async fn settle(&mut self, history: &History) -> Result<()> {
        // A code that was redeemed is refused now; one that was not still works.
        self.redeem_open_code(history).await?.map_err(not_back)?;
        for family in &mut self.families {
            let Some(refresh) = family.refresh.clone().filter(|_| family.is_in_doubt) else {
                continue;
            };
            // Twice, since both answers must carry the same successor.
            for _ in 0..2 {
                let answer = rotate(&self.caller, history, family.id, &refresh).await?;
                family.take(&refresh, answer).map_err(not_back)?;
            }
        }
        Ok(())
    }

    /// After a restart: asks about access tokens that were acknowledged; all that were granted
    /// lately, and of the older ones all or some. Returns how many.
    pub(super) async fn ask(&mut self, history: &History, about: About) -> Result<usize> {
        let mut count = 0;
        for family in &mut self.families {
            family.access.retain(|access| access.granted.elapsed() < ASKABLE);
            for access in &family.access {
                let is_old = access.granted.elapsed() > LATELY;
                if about == About::NewAndSomeOld && is_old && self.random.below(20) > 0 {
                    continue;
                }
                introspect(&self.caller, history, family.id, &access.token)
                    .await?
                    .map_err(not_back)?;
                count += 1;
            }
        }
        self.families.retain(|family| !family.access.is_empty());
        Ok(count)
    }

    /// Spends a code and a refresh token a second time; each must be refused, and may end its family.
    pub(super) async fn spend_again(&mut self, history: &History) -> Result<()> {
        for family in &mut self.families {
            let (Some(spent), Some(code)) = (family.spent.clone(), family.code.take()) else {
                continue;
            };
            rotate(&self.caller, history, family.id, &spent).await?;
            let asked = history.asked();
            let answer = self.caller.redeem(&code).await?;
            history.answered(family.id, asked, Call::Redeem { code: code.code }, answer);
            family.end();
            return Ok(());
        }
        Ok(())
    }
}

impl Family {
    fn new(id: FamilyId, access: String, refresh: Option<String>, code: Option<Code>) -> Self {
        let access = vec![Access {
            token: access,
            granted: Instant::now(),
        }];
        Self {
            id,
            access,
            refresh,
            previous: None,
            spent: None,
            code,
            is_in_doubt: false,
        }
    }

    /// Takes over what a rotation of `presented` brought.
    fn take(&mut self, presented: &str, answer: Answer) -> Result<(), Gone> {
        match answer {
            Answer::Granted { access, refresh } => {
                if self.access.iter().all(|known| known.token != access) {
                    self.access.push(Access {
                        token: access,
                        granted: Instant::now(),
                    });
                }
                // A second answer for the same token changes nothing; if it names another
                // successor, the checker finds it.
                if self.refresh.as_deref() == Some(presented) {
                    self.spent = self.previous.replace(presented.to_owned());
                    self.refresh = refresh;
                }
                self.is_in_doubt = false;
                Ok(())
            }
            // The checker says whether that was right.
            Answer::Refused(_) => {
                self.end();
                Ok(())
            }
            _ => {
                self.is_in_doubt = self.refresh.as_deref() == Some(presented);
                Err(Gone)
            }
        }
    }

    /// Nothing more comes of this family; its access tokens are still asked about.
    fn end(&mut self) {
        self.refresh = None;
        self.is_in_doubt = false;
    }
}

async fn rotate(caller: &Caller, history: &History, id: FamilyId, refresh: &str) -> Result<Answer> {
    let asked = history.asked();
    let answer = caller.rotate(refresh).await?;
    history.answered(
        id,
        asked,
        Call::Rotate {
            refresh: refresh.to_owned(),
        },
        answer.clone(),
    );
    Ok(answer)
}

async fn introspect(
    caller: &Caller,
    history: &History,
    id: FamilyId,
    token: &str,
) -> Result<Result<(), Gone>> {
    let asked = history.asked();
    let answer = caller.introspect(token).await?;
    history.answered(
        id,
        asked,
        Call::Introspect {
            token: token.to_owned(),
        },
        answer.clone(),
    );
    Ok(if answer == Answer::Unknown {
        Err(Gone)
    } else {
        Ok(())
    })
}

fn not_back(_: Gone) -> anyhow::Error {
    anyhow::anyhow!("the server was started again and does not answer")
}
