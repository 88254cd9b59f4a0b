//! Calls that are answered once they are durable. Those that come while others are waited for are sent together and waited
//! for together: a server lets nothing else of a connection through while it waits for its disk, so that one after the other
//! each would wait for a flush of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::{Cmd, RedisResult, Value, from_redis_value};
use tokio::sync::oneshot;

use super::access::Timeouts;
use super::breaker::Part;
use super::library::load_command;
use super::link::{Link, is_gone, lacks_function, redis_error};
use super::start::Durability;
use super::wire::Route;
use crate::LedgerError;

/// Calls that are sent together at most.
const MAX_TOGETHER: usize = 128;

/// A connection of its own, as waiting on it makes what follows wait too.
#[derive(Debug)]
pub(super) struct Durable {
    link: Link,
    durability: Durability,
    /// How long the server is asked to wait.
    wait_ms: u64,
    /// How long a caller waits, for those before it and for itself.
    patience: Duration,
    groups: Mutex<HashMap<Part, Arc<Group>>>,
}

type Outcome = Result<Value, LedgerError>;

/// Calls to one part of the store.
#[derive(Debug, Default)]
struct Group {
    waiting: Mutex<Vec<Waiting>>,
    /// Of whoever sends what is waiting.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    command: Cmd,
    tell: oneshot::Sender<Outcome>,
}

impl Durable {
    /// Beside `link`, to the same place.
    pub(super) async fn beside(
        link: &Link,
        route: &Route,
        timeouts: Timeouts,
        durability: Durability,
    ) -> Result<Self, LedgerError> {
        // `everysec` flushes once a second, and a second time where the first is under way; replicas tell once a second
        // how far theirs has come.
        let longer = Timeouts { response: timeouts.response * 2, ..timeouts };
        let wait_ms = u64::try_from((longer.response * 3 / 4).as_millis()).unwrap_or(u64::MAX).max(1);
        let link = link.beside(route, longer).await?;
        Ok(Self { link, durability, wait_ms, patience: longer.deadline(), groups: Mutex::default() })
    }

    /// The reply to `command`, once it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] also where it was done and is not durable yet.
    pub(super) async fn call(&self, command: &Cmd) -> Outcome {
        let answered = async {
            match self.link.together(command) {
                Some(part) => self.call_together(&self.group(part), command).await,
                None => {
                    let (waiting, mut told) = waiting(command);
                    self.send(vec![waiting]).await;
                    told.try_recv().unwrap_or_else(|_| Err(not_in_time()))
                }
            }
        };
        tokio::time::timeout(self.patience, answered).await.unwrap_or_else(|_| Err(not_in_time()))
    }

    async fn call_together(&self, group: &Group, command: &Cmd) -> Outcome {
        let mut told = group.join(command);
        loop {
            tokio::select! {
                biased;
                outcome = &mut told => match outcome {
                    Ok(outcome) => return outcome,
                    // Whoever sent it along was not waited for any more.
                    Err(_) => told = group.join(command),
                },
                _turn = group.turn.lock() => self.send(group.next()).await,
            }
        }
    }

    fn group(&self, part: Part) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(groups.entry(part).or_default())
    }

    /// All of it; where the server refuses one, each again by itself, so that none fails for another.
    async fn send(&self, together: Vec<Waiting>) {
        let commands: Vec<&Cmd> = together.iter().map(|waiting| &waiting.command).collect();
        let Some(&first) = commands.first() else { return };
        match self.ask(first, &commands).await {
            Err(error) if together.len() > 1 && !is_gone(&error) => {
                for waiting in together {
                    let asked = self.ask(&waiting.command, &[&waiting.command]).await;
                    waiting.end(self.outcome(&asked, 0));
                }
            }
            asked => {
                for (index, waiting) in together.into_iter().enumerate() {
                    waiting.end(self.outcome(&asked, index));
                }
            }
        }
    }

    /// The replies, and what the server says of their durability.
    async fn ask(&self, first: &Cmd, commands: &[&Cmd]) -> RedisResult<(Vec<Value>, Value)> {
        let mut all = ::redis::pipe();
        for command in commands {
            all.add_command((*command).clone());
        }
        let Durability { waits_for_disk, replicas } = self.durability;
        if waits_for_disk {
            all.cmd("WAITAOF").arg(1).arg(replicas).arg(self.wait_ms);
        } else {
            all.cmd("WAIT").arg(replicas).arg(self.wait_ms);
        }
        let mut replies: Vec<Value> = match self.link.query_all(&all).await {
            Err(error) if lacks_function(&error) => {
                self.link.beside_of(first, &load_command()).await?;
                self.link.query_all(&all).await?
            }
            replies => replies?,
        };
        let waited = replies.pop().unwrap_or(Value::Nil);
        Ok((replies, waited))
    }

    fn outcome(&self, asked: &RedisResult<(Vec<Value>, Value)>, index: usize) -> Outcome {
        let (replies, waited) = asked.as_ref().map_err(|error| redis_error(error.clone()))?;
        let (on_disk, on_replicas): (u32, u32) = match self.durability.waits_for_disk {
            true => from_redis_value(waited.clone()),
            false => from_redis_value(waited.clone()).map(|replicas: u32| (1, replicas)),
        }
        .map_err(|error| LedgerError::Corrupt(error.to_string()))?;
        let replicas = self.durability.replicas;
        if on_disk < 1 {
            return Err(LedgerError::Unavailable("the write is not on disk yet".to_owned()));
        }
        if on_replicas < replicas {
            return Err(LedgerError::Unavailable(format!(
                "the write is on {on_replicas} of {replicas} replicas yet"
            )));
        }
        replies.get(index).cloned().ok_or_else(|| LedgerError::Corrupt("a reply is missing".to_owned()))
    }
}

impl Group {
    fn join(&self, command: &Cmd) -> oneshot::Receiver<Outcome> {
        let (waiting, told) = waiting(command);
        self.waiting().push(waiting);
        told
    }

    /// What is sent next.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        // What nobody waits for any more must not come later than what was asked after it.
        waiting.retain(|waiting| !waiting.tell.is_closed());
        let count = waiting.len().min(MAX_TOGETHER);
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn end(self, outcome: Outcome) {
        // Fails where nobody waits any more.
        let _ = self.tell.send(outcome);
    }
}

fn waiting(command: &Cmd) -> (Waiting, oneshot::Receiver<Outcome>) {
    let (tell, told) = oneshot::channel();
    (Waiting { command: command.clone(), tell }, told)
}

fn not_in_time() -> LedgerError {
    LedgerError::Unavailable("the write is not durable in time".to_owned())
}
