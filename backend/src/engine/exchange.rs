//! One exchange with one engine process, and the table that finds it when an event comes.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use cocoon_engine_api::{Command, Event, Id};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::EngineError;

/// The way to one engine process, for as long as that lives.
#[derive(Debug)]
pub(super) struct Link {
    /// Unbounded, because a dropped exchange must be able to cancel at once; admission bounds the exchanges, and each
    /// sends three commands at most.
    commands: UnboundedSender<Command>,
    /// None once the process is gone: nobody begins what nobody would answer.
    ///
    /// The channels are unbounded, because the one reader of the engine's pipe must never wait for one slow
    /// exchange; the context length bounds the events of each.
    exchanges: Mutex<Option<HashMap<Id, UnboundedSender<Event>>>>,
}

impl Link {
    pub(super) fn new() -> (Arc<Self>, UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { commands, exchanges: Mutex::new(Some(HashMap::new())) }), receiver)
    }

    /// Hands an event to the exchange it is for.
    pub(super) fn route(&self, event: Event) {
        let Some(id) = id_of(&event) else {
            tracing::warn!("the engine said `ready` twice");
            return;
        };
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(exchanges) = exchanges.as_mut() else { return };
        let sender = if is_last(&event) { exchanges.remove(&id) } else { exchanges.get(&id).cloned() };
        // An exchange that was dropped has cancelled; what still comes of it is for nobody.
        if let Some(sender) = sender {
            drop(sender.send(event));
        }
    }

    /// Ends every exchange: each sees that the engine died.
    pub(super) fn sever(&self) {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn enter(&self, id: Id) -> Result<UnboundedReceiver<Event>, EngineError> {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, receiver) = mpsc::unbounded_channel();
        exchanges.as_mut().ok_or(EngineError::Died)?.insert(id, sender);
        Ok(receiver)
    }

    fn leave(&self, id: Id) {
        if let Some(exchanges) = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            exchanges.remove(&id);
        }
    }

    fn send(&self, command: Command) {
        // A process that is gone is noticed by its events ending.
        drop(self.commands.send(command));
    }
}

/// An exchange that has begun. Dropped before its end, it is cancelled.
#[derive(Debug)]
pub(crate) struct Exchange {
    id: Id,
    link: Arc<Link>,
    events: UnboundedReceiver<Event>,
    over: bool,
}

impl Exchange {
    pub(super) fn begin(link: Arc<Link>, id: Id, command: Command) -> Result<Self, EngineError> {
        let events = link.enter(id)?;
        link.send(command);
        Ok(Self { id, link, events, over: false })
    }

    /// The next event; none once the engine has died. Nothing is lost where the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = ready!(self.events.poll_recv(context));
        self.over |= event.as_ref().is_none_or(is_last);
        Poll::Ready(event)
    }

    /// Asks the engine to end the generation: it still says how, and what it used.
    pub(crate) fn cancel(&self) {
        self.link.send(Command::Cancel { id: self.id });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.over {
            self.link.leave(self.id);
            self.cancel();
        }
    }
}

fn id_of(event: &Event) -> Option<Id> {
    match event {
        Event::Ready(_) => None,
        Event::Tokenized { id, .. }
        | Event::Text { id, .. }
        | Event::Embedding { id, .. }
        | Event::Done { id, .. }
        | Event::Failed { id, .. }
        | Event::Status { id, .. } => Some(*id),
    }
}

fn is_last(event: &Event) -> bool {
    !matches!(event, Event::Text { .. } | Event::Embedding { .. } | Event::Ready(_))
}

#[cfg(test)]
mod tests {
    use cocoon_engine_api::{Finish, Usage};

    use super::*;

    fn text(id: Id) -> Event {
        Event::Text { id, text: "x".into(), completion_tokens: 1, logprobs: Vec::new() }
    }

    fn done(id: Id) -> Event {
        Event::Done { id, finish: Finish::Stop, usage: Usage::default() }
    }

    #[tokio::test]
    async fn events_reach_their_own_exchange_and_end_with_it() {
        let (link, _commands) = Link::new();
        let mut one = Exchange::begin(Arc::clone(&link), 1, Command::Status { id: 1 }).unwrap();
        let mut two = Exchange::begin(Arc::clone(&link), 2, Command::Status { id: 2 }).unwrap();
        for event in [text(2), text(1), done(1), text(3)] {
            link.route(event);
        }
        assert_eq!(one.next().await, Some(text(1)));
        assert_eq!(one.next().await, Some(done(1)));
        assert_eq!(two.next().await, Some(text(2)));
        link.sever();
        assert_eq!(two.next().await, None);
        assert!(Exchange::begin(link, 4, Command::Status { id: 4 }).is_err());
    }

    #[tokio::test]
    async fn an_exchange_dropped_before_its_end_is_cancelled_and_a_finished_one_is_not() {
        let (link, mut commands) = Link::new();
        let mut finished = Exchange::begin(Arc::clone(&link), 1, Command::Status { id: 1 }).unwrap();
        link.route(done(1));
        finished.next().await.unwrap();
        drop(finished);
        drop(Exchange::begin(Arc::clone(&link), 2, Command::Status { id: 2 }).unwrap());
        drop(link);
        let mut sent = Vec::new();
        while let Some(command) = commands.recv().await {
            sent.push(command);
        }
        let expected = [Command::Status { id: 1 }, Command::Status { id: 2 }, Command::Cancel { id: 2 }];
        assert_eq!(sent, expected);
    }
}
