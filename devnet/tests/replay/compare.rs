//! What two executors made of one message: the same, the same but for known differences, or not the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tycho_types::cell::{Cell, CellBuilder, HashBytes, Lazy};
use tycho_types::models::{
    Account, AccountState, AccountStatus, BouncePhase, ComputePhase, HashUpdate, MsgInfo, OptionalAccount,
    OrdinaryTxInfo, OwnedMessage, ShardAccount, StorageExtra, Transaction, TxInfo,
};
use tycho_types::num::Tokens;

/// A transaction and the account after it.
pub(crate) struct Outcome {
    transaction: Cell,
    shard: ShardAccount,
}

/// Everything in an outcome, to be compared by name.
#[derive(Debug)]
pub(crate) struct Contents {
    transaction: Transaction,
    pub(crate) info: OrdinaryTxInfo,
    state_update: HashUpdate,
    #[expect(dead_code, reason = "told by `Debug` if it differs; otherwise the transaction has it")]
    sent: Vec<OwnedMessage>,
    pub(crate) account: Option<Account>,
    last_trans_lt: u64,
}

impl Outcome {
    pub(crate) fn new(transaction: Cell, shard: ShardAccount) -> Self {
        Self { transaction, shard }
    }

    /// The representation hashes of the transaction, and of the account's entry in its shard: of all there is.
    fn hashes(&self) -> [HashBytes; 2] {
        let entry = CellBuilder::build_from(&self.shard).unwrap();
        [*self.transaction.repr_hash(), *entry.repr_hash()]
    }

    pub(crate) fn contents(&self) -> Contents {
        let transaction: Transaction = self.transaction.parse().unwrap();
        let TxInfo::Ordinary(info) = transaction.load_info().unwrap() else {
            panic!("not a transaction of a message");
        };
        let sent = transaction.out_msgs.values();
        Contents {
            info,
            state_update: transaction.state_update.load().unwrap(),
            sent: sent.map(|message| message.unwrap().parse().unwrap()).collect(),
            account: self.shard.load_account().unwrap(),
            last_trans_lt: self.shard.last_trans_lt,
            transaction,
        }
    }
}

impl Contents {
    /// The message that came in.
    fn message(&self) -> OwnedMessage {
        self.transaction.in_msg.as_ref().unwrap().parse().unwrap()
    }

    /// The outcome that has these contents.
    fn outcome(mut self) -> Outcome {
        let account = Lazy::new(&OptionalAccount(self.account)).unwrap();
        self.state_update.new = *account.repr_hash();
        self.transaction.state_update = Lazy::new(&self.state_update).unwrap();
        self.transaction.info = Lazy::new(&TxInfo::Ordinary(self.info)).unwrap();
        let transaction = CellBuilder::build_from(&self.transaction).unwrap();
        let last_trans_hash = *transaction.repr_hash();
        Outcome {
            transaction,
            shard: ShardAccount { account, last_trans_hash, last_trans_lt: self.last_trans_lt },
        }
    }
}

/// A difference that is let through: all of them are in what is reported, none in what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    /// Whether the message's state was used and the account activated: ours says so, the C++ executor never
    /// does.
    DeployFlags,
    /// The hash of a dictionary of an account's cells, which the C++ executor keeps for accounts of [`LARGE`]
    /// cells and more. Ours leaves what was there before.
    StorageDictionary,
    /// What a bounced message would cost that cannot pay for itself: ours reports how much of that is missing,
    /// the C++ executor all of it.
    MissingForBounce,
    /// How large such a message would be, in the format that says what the message brought, where an action had
    /// sent that on before another failed: ours counts nothing for it, the C++ executor what it was.
    ValueInBounce,
    /// Which action failed, if it was number 0: ours reports 0, the C++ executor nothing.
    FirstAction,
    /// What the messages before the failed action would have cost: the C++ executor reports it, ours does not.
    FeesOfNoMessages,
    /// The account's status after its transaction, if it was frozen in the state that its address is the hash
    /// of. Both store it as not deployed; the C++ executor reports that it is frozen.
    FrozenAsDeployed,
}

impl Known {
    pub(crate) const ALL: [Self; 7] = [
        Self::DeployFlags,
        Self::StorageDictionary,
        Self::ValueInBounce,
        Self::MissingForBounce,
        Self::FirstAction,
        Self::FeesOfNoMessages,
        Self::FrozenAsDeployed,
    ];

    /// Makes ours as theirs, if they differ in this and the condition for it holds.
    fn let_through(self, before: &ShardAccount, theirs: &Contents, ours: &mut Contents) -> bool {
        let applied = match self {
            Self::DeployFlags => deploy_flags(theirs, ours),
            Self::StorageDictionary => storage_dictionary(before, theirs, ours),
            Self::MissingForBounce => missing_for_bounce(theirs, ours),
            Self::ValueInBounce => value_in_bounce(theirs, ours),
            Self::FirstAction => first_action(theirs, ours),
            Self::FeesOfNoMessages => fees_of_no_messages(theirs, ours),
            Self::FrozenAsDeployed => frozen_as_deployed(theirs, ours),
        };
        applied.is_some()
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeployFlags => "flags of a deploy",
            Self::StorageDictionary => "dictionary's hash",
            Self::MissingForBounce => "missing for bounce",
            Self::ValueInBounce => "value in bounce",
            Self::FirstAction => "first action",
            Self::FeesOfNoMessages => "fees of no messages",
            Self::FrozenAsDeployed => "frozen as deployed",
        })
    }
}

/// From so many cells the C++ executor keeps a dictionary of them, in the basechain.
const LARGE: u64 = 26;

/// How two outcomes of one message compare.
pub(crate) enum Comparison {
    Identical,
    /// To the bit, but for these.
    Known(Vec<Known>),
    /// What differs: name, theirs, ours.
    Different(Vec<[String; 3]>),
}

/// Compares what two executors made of a message to an account that was in the state `before`.
pub(crate) fn compare(before: &ShardAccount, theirs: &Outcome, ours: &Outcome) -> Comparison {
    if theirs.hashes() == ours.hashes() {
        return Comparison::Identical;
    }
    let (expected, mut got) = (theirs.contents(), ours.contents());
    let known =
        Known::ALL.into_iter().filter(|known| known.let_through(before, &expected, &mut got)).collect();
    let got = got.outcome();
    if theirs.hashes() == got.hashes() {
        return Comparison::Known(known);
    }
    Comparison::Different(differences(&expected, &got.contents()))
}

fn deploy_flags(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let brings_state = theirs.message().init.is_some();
    let (ComputePhase::Executed(theirs_ran), ComputePhase::Executed(ours_ran)) =
        (&theirs.info.compute_phase, &mut ours.info.compute_phase)
    else {
        return None;
    };
    let applies = brings_state
        && theirs.transaction.orig_status != AccountStatus::Active
        && !(theirs_ran.msg_state_used || theirs_ran.account_activated)
        && (ours_ran.msg_state_used && ours_ran.account_activated);
    applies.then(|| {
        ours_ran.msg_state_used = false;
        ours_ran.account_activated = false;
    })
}

fn storage_dictionary(before: &ShardAccount, theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let was = before
        .load_account()
        .unwrap()
        .map_or(StorageExtra::None, |account| account.storage_stat.storage_extra);
    let account = theirs.account.as_ref()?;
    let (expected, got) = (&account.storage_stat, &mut ours.account.as_mut()?.storage_stat);
    let large = expected.used.cells.into_inner() >= LARGE && !account.address.is_masterchain();
    let applies = expected.used == got.used
        && large == matches!(expected.storage_extra, StorageExtra::DictHash(_))
        && got.storage_extra == was
        && got.storage_extra != expected.storage_extra;
    applies.then(|| got.storage_extra = expected.storage_extra)
}

fn missing_for_bounce(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let left = left_to_bounce(theirs);
    let (Some(BouncePhase::NoFunds(expected)), Some(BouncePhase::NoFunds(got))) =
        (&theirs.info.bounce_phase, &mut ours.info.bounce_phase)
    else {
        return None;
    };
    let applies = !left.is_zero() && got.req_fwd_fees.checked_add(left) == Some(expected.req_fwd_fees);
    applies.then(|| got.req_fwd_fees = expected.req_fwd_fees)
}

fn value_in_bounce(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let MsgInfo::Int(message) = theirs.message().info else {
        return None;
    };
    let acted = theirs.info.action_phase.as_ref()?;
    let (Some(BouncePhase::NoFunds(expected)), Some(BouncePhase::NoFunds(got))) =
        (&theirs.info.bounce_phase, &mut ours.info.bounce_phase)
    else {
        return None;
    };
    let bits = u64::from(message.value.tokens.into_inner().checked_ilog2()? / 8 + 1) * 8;
    let applies = !acted.success
        && message.extra_flags.is_new_bounce_format()
        && expected.msg_size.cells == got.msg_size.cells
        && expected.msg_size.bits.into_inner() == got.msg_size.bits.into_inner() + bits
        && expected.req_fwd_fees > got.req_fwd_fees;
    applies.then(|| *got = expected.clone())
}

/// What is left of the message's value after the gas, and after the fine for actions that failed.
fn left_to_bounce(contents: &Contents) -> Tokens {
    let MsgInfo::Int(message) = contents.message().info else {
        return Tokens::ZERO;
    };
    let gas = match &contents.info.compute_phase {
        ComputePhase::Executed(phase) => phase.gas_fees,
        ComputePhase::Skipped(_) => Tokens::ZERO,
    };
    let fine = contents.info.action_phase.as_ref().and_then(|phase| phase.total_action_fees);
    message.value.tokens.saturating_sub(gas).saturating_sub(fine.unwrap_or_default())
}

fn first_action(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let (expected, got) = (theirs.info.action_phase.as_ref()?, ours.info.action_phase.as_mut()?);
    let applies = !expected.success && expected.result_arg.is_none() && got.result_arg == Some(0);
    applies.then(|| got.result_arg = None)
}

fn fees_of_no_messages(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let (expected, got) = (theirs.info.action_phase.as_ref()?, ours.info.action_phase.as_mut()?);
    let applies = !expected.success
        && expected.messages_created > 0
        && expected.total_fwd_fees.is_some()
        && got.total_fwd_fees.is_none();
    applies.then(|| got.total_fwd_fees = expected.total_fwd_fees)
}

fn frozen_as_deployed(theirs: &Contents, ours: &mut Contents) -> Option<()> {
    let stored = theirs.account.as_ref()?;
    let applies = matches!(stored.state, AccountState::Uninit)
        && theirs.transaction.end_status == AccountStatus::Frozen
        && ours.transaction.end_status == AccountStatus::Uninit;
    applies.then(|| ours.transaction.end_status = AccountStatus::Frozen)
}

/// The fields of two contents that differ, with both values.
fn differences(theirs: &Contents, ours: &Contents) -> Vec<[String; 3]> {
    let (theirs, ours) = (fields(&format!("{theirs:#?}")), fields(&format!("{ours:#?}")));
    let value =
        |of: &BTreeMap<String, String>, name: &str| of.get(name).map_or("-".to_owned(), String::clone);
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differ = names.into_iter().filter(|name| theirs.get(*name) != ours.get(*name));
    differ.map(|name| [name.clone(), value(&theirs, name), value(&ours, name)]).collect()
}

/// The values in a pretty `Debug` text, by the names that lead to them.
fn fields(text: &str) -> BTreeMap<String, String> {
    const INDENT: usize = 4;
    let mut path: Vec<String> = Vec::new();
    // Elements of lists and tuples at each depth so far: their numbers are their names.
    let mut counts: Vec<usize> = Vec::new();
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        let value = line.trim_start();
        let depth = (line.len() - value.len()) / INDENT;
        path.truncate(depth.saturating_sub(1));
        counts.truncate(depth + 1);
        counts.resize(depth + 1, 0);
        // Neither the name of the whole nor what closes a part is a field.
        if depth == 0 || value.starts_with(['}', ')', ']']) {
            continue;
        }
        let (name, value) = match value.split_once(": ") {
            Some((name, value)) => (name.to_owned(), value),
            None => (counts[depth].to_string(), value),
        };
        counts[depth] += 1;
        path.push(name);
        fields.insert(path.join("."), value.trim_end_matches(',').to_owned());
    }
    fields
}
