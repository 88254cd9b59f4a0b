//! What can be made to go wrong. All is counted, not left to chance, so a test can say what it expects.

use serde::{Deserialize, Serialize};

/// Between the clients and the blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkFaults {
    /// So many of the next external messages are accepted and reach no block.
    pub drop_externals: u32,
    /// So many of the next external messages come twice.
    pub duplicate_externals: u32,
    /// External messages wait for so many blocks more.
    pub delay_externals: u32,
    /// Messages between accounts are on their way for so many blocks more.
    pub delay_messages: u32,
    /// Messages of different senders arrive in another order, drawn by this number.
    pub shuffle: Option<u64>,
}

/// Of one endpoint, on all methods or on those that are named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointFaults {
    /// None for every method.
    pub methods: Option<Vec<String>>,
    /// So many of the next calls are refused before anything is done for them.
    pub refuse: u32,
    /// HTTP status of a refusal; 429 if none is said.
    pub refuse_with: Option<u16>,
    /// So many of the next calls are done, and their answers are lost: 504.
    pub lose_answers: u32,
    /// So many of the next calls are never answered.
    pub hang: u32,
    /// Answers tell of the chain as it was when this was set.
    pub stale: bool,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Refused(u16),
    Lost,
    Hangs,
}

fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

impl NetworkFaults {
    /// How often and with which delay an external message comes.
    pub(crate) fn external(&mut self) -> (u32, u32) {
        let copies = match (take(&mut self.drop_externals), take(&mut self.duplicate_externals)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        (copies, self.delay_externals)
    }
}

impl EndpointFaults {
    pub(crate) fn fate(&mut self, method: &str) -> Fate {
        if self.methods.as_ref().is_some_and(|methods| !methods.iter().any(|name| name == method)) {
            return Fate::Answered;
        }
        if take(&mut self.refuse) {
            return Fate::Refused(self.refuse_with.unwrap_or(429));
        }
        if take(&mut self.hang) {
            return Fate::Hangs;
        }
        if take(&mut self.lose_answers) {
            return Fate::Lost;
        }
        Fate::Answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_as_many_calls_as_it_says_and_only_the_named_methods() {
        let mut faults = EndpointFaults {
            methods: Some(vec!["sendBoc".to_owned()]),
            refuse: 1,
            lose_answers: 1,
            ..EndpointFaults::default()
        };
        assert_eq!(faults.fate("getTransactions"), Fate::Answered);
        let fates: Vec<_> = (0..3).map(|_| faults.fate("sendBoc")).collect();
        assert_eq!(fates, [Fate::Refused(429), Fate::Lost, Fate::Answered]);
    }

    #[test]
    fn an_external_message_is_dropped_before_it_is_doubled() {
        let mut faults =
            NetworkFaults { drop_externals: 1, duplicate_externals: 2, ..NetworkFaults::default() };
        let copies: Vec<_> = (0..3).map(|_| faults.external().0).collect();
        assert_eq!(copies, [0, 2, 1]);
    }
}
