//! What the official executor did, done again by ours. A recorder under Node.js sends messages through
//! `@ton/sandbox`, which has the C++ executor and TVM, and writes down what they were given and what they
//! made of it; here each message comes to the same account once more. Transactions and accounts must be equal
//! to the bit, but for [`Known`] differences in what is reported.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compare;
mod divergences;
mod recording;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use cocoon_devnet::{Executed, Network, NotExecuted, execute};
use tycho_types::cell::{Cell, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::models::Transaction;

use crate::compare::{Comparison, Known, Outcome, compare};
use crate::divergences::{DIVERGENCES, Ours};
use crate::recording::{Answer, Entry, Recorded, entries, record};

/// Fewer would show that scenarios have gone.
const FEWEST_TRANSACTIONS: usize = 6_000;

/// So many messages are shown of those that differ in the same field first; one is enough to fail.
const MOST_SHOWN: usize = 3;

/// Scenarios of [`DIVERGENCES`] begin with this.
const DIVERGENCE: &str = "divergence: ";

/// Version, prices and number of the network. The limits of sizes (43) are the defaults in both.
const PARAMETERS: [u32; 7] = [8, 18, 19, 20, 21, 24, 25];

/// What became of the messages of one scenario.
#[derive(Default)]
struct Row {
    identical: usize,
    /// The same but for known differences.
    known: usize,
    /// Neither executor took them.
    refused: usize,
    diverged: usize,
    differences: BTreeMap<Known, usize>,
}

/// A message of which the executors did not make the same.
struct Failure {
    /// The field that differs first.
    field: String,
    text: String,
}

/// All messages so far.
#[derive(Default)]
struct Tally {
    rows: BTreeMap<String, Row>,
    /// By the field that differs first.
    failures: BTreeMap<String, Vec<String>>,
}

#[test]
fn every_recorded_message_has_the_same_effect() {
    let begun = Instant::now();
    let recordings = record();
    let recorded = begun.elapsed();
    let mut tally = Tally::default();
    for recording in &recordings {
        tally.replay_all(recording);
    }
    let (recorded, replayed) = (recorded.as_secs_f64(), (begun.elapsed() - recorded).as_secs_f64());
    // `println!` would show it only if the test fails.
    let mut out = std::io::stdout();
    writeln!(out, "{}\nrecorded in {recorded:.1} s, replayed in {replayed:.1} s", tally.table()).unwrap();

    assert!(tally.failures.is_empty(), "{}", tally.failures());
    for (name, _) in DIVERGENCES {
        let row = tally.rows.get(&format!("{DIVERGENCE}{name}"));
        assert!(row.is_some_and(|row| row.diverged > 0), "the executors agree about {name}");
    }
    let sum = tally.sum();
    for known in Known::ALL {
        assert!(sum.differences.contains_key(&known), "the executors agree about this: {known}");
    }
    let transactions = sum.identical + sum.known;
    assert!(transactions >= FEWEST_TRANSACTIONS, "only {transactions} transactions");
}

impl Tally {
    fn replay_all(&mut self, recording: &str) {
        let mut network = None;
        for entry in entries(recording) {
            match entry {
                Entry::Configuration(on, configuration) => {
                    let ours = Network::new(on.prices, on.global_id).unwrap();
                    assert_same_parameters(&ours, configuration);
                    network = Some((on, ours));
                }
                Entry::Message(message) => {
                    let (on, network) = network.as_ref().unwrap();
                    assert_eq!(*on, message.on);
                    let row = self.rows.entry(message.scenario.clone()).or_default();
                    if let Err(Failure { field, text }) = replay(network, *message, row) {
                        self.failures.entry(field).or_default().push(format!("{on:?}, {text}"));
                    }
                }
            }
        }
    }

    /// Of all scenarios in which the executors should do the same.
    fn sum(&self) -> Row {
        let mut sum = Row::default();
        for (_, row) in self.rows.iter().filter(|(scenario, _)| !scenario.starts_with(DIVERGENCE)) {
            sum.identical += row.identical;
            sum.known += row.known;
            sum.refused += row.refused;
            for (known, count) in &row.differences {
                *sum.differences.entry(*known).or_default() += count;
            }
        }
        sum
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{:<50}{:>10}{:>7}{:>9}{:>10}  let through",
            "", "identical", "known", "refused", "diverging"
        );
        for (scenario, row) in &self.rows {
            row.write(&mut text, scenario);
        }
        self.sum().write(&mut text, "all but what diverges");
        text
    }

    fn failures(&self) -> String {
        let mut text = String::new();
        for (field, found) in &self.failures {
            writeln!(text, "\n{} messages differ in {field}", found.len()).unwrap();
            found.iter().take(MOST_SHOWN).for_each(|one| writeln!(text, "{one}").unwrap());
        }
        text
    }
}

impl Row {
    fn write(&self, text: &mut String, name: &str) {
        let Self { identical, known, refused, diverged, differences } = self;
        let each = differences.iter().map(|(known, count)| format!("{known} {count}"));
        let differences = each.collect::<Vec<_>>().join(", ");
        write!(text, "\n{name:<50}{identical:>10}{known:>7}{refused:>9}{diverged:>10}  {differences}")
            .unwrap();
    }
}

fn assert_same_parameters(ours: &Network, theirs: Cell) {
    let theirs = Dict::<u32, Cell>::from_raw(Some(theirs));
    for id in PARAMETERS {
        assert_eq!(ours.parameter(id).unwrap(), theirs.get(id).unwrap(), "parameter {id}");
    }
}

fn replay(network: &Network, message: Recorded, row: &mut Row) -> Result<(), Failure> {
    let Recorded { scenario, moment, before, inbound, answer, .. } = message;
    let failure =
        |field: &str, text: String| Failure { field: field.to_owned(), text: format!("{scenario}: {text}") };
    let executed = execute(network, &moment, &before, &inbound);
    let (theirs, ours) = match (answer, executed) {
        (Answer::Refused(theirs), Err(NotExecuted::NotAccepted(ours))) if theirs == ours => {
            row.refused += 1;
            return Ok(());
        }
        (Answer::Refused(theirs), ours) => {
            let ours = ours.map(|_| "a transaction");
            return Err(failure("what is not accepted", format!("exit code {theirs:?}, ours {ours:?}")));
        }
        (Answer::Executed(theirs), ours) => (theirs, ours),
    };
    let ours = ours.map(|executed| {
        assert_summary(&executed);
        Outcome::new(executed.transaction, executed.account)
    });
    let differ = match &ours {
        Ok(ours) => match compare(&before, &theirs, ours) {
            Comparison::Identical => {
                row.identical += 1;
                return Ok(());
            }
            Comparison::Known(known) => {
                row.known += 1;
                known.into_iter().for_each(|one| *row.differences.entry(one).or_default() += 1);
                return Ok(());
            }
            Comparison::Different(fields) => fields,
        },
        Err(error) => vec![["executed".to_owned(), "yes".to_owned(), error.to_string()]],
    };
    if let Some(name) = scenario.strip_prefix(DIVERGENCE) {
        let ours: Ours = ours.map(|ours| ours.contents());
        let (_, as_described) = DIVERGENCES.iter().find(|(one, _)| *one == name).unwrap();
        if as_described(&theirs.contents(), &ours) {
            row.diverged += 1;
            return Ok(());
        }
    }
    let lines = differ.iter().map(|[name, theirs, ours]| format!("\n  {name}: {theirs}, ours {ours}"));
    Err(failure(differ.first().map_or("no field that is known", |[name, ..]| name), lines.collect()))
}

/// What the executor says of a transaction beside the transaction itself.
fn assert_summary(executed: &Executed) {
    let transaction: Transaction = executed.transaction.parse().unwrap();
    let hash = |message: Cell| *message.repr_hash();
    let sent: Vec<HashBytes> = transaction.out_msgs.values().map(|message| hash(message.unwrap())).collect();
    let told: Vec<HashBytes> = executed.sent.iter().map(|message| hash(message.inner().clone())).collect();
    assert_eq!(told, sent);
    assert_eq!(executed.lt, transaction.lt);
    assert_eq!(executed.next_lt, transaction.lt + 1 + sent.len() as u64);
    assert_eq!(executed.fees, transaction.total_fees.tokens.into_inner());
    assert_eq!(executed.burned, 0);
    assert_eq!(executed.account.last_trans_hash, *executed.transaction.repr_hash());
}
