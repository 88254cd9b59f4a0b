//! Makes a recording and reads it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cocoon_devnet::{Fees, Inbound, Moment};
use serde::Deserialize;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, HashBytes};
use tycho_types::models::ShardAccount;

use crate::compare::Outcome;

/// Where the packages are that the recorder needs: `cargo xtask test` installs them and sets it.
const MODULES: &str = "COCOON_TEST_CONTRACTS_MODULES";

/// Folders of the project whose files the recorder needs, itself among them.
const SOURCES: [&str; 5] = [
    "contracts",
    "contracts/build",
    "contracts/tests/support",
    "devnet/tests/recorder",
    "devnet/tests/recorder/scenarios",
];

/// How the official executor says that an external message made no transaction: the receiver's code did not
/// accept it, or did not come to run.
const REJECTED: [&str; 2] =
    ["External message not accepted by smart contract", "inbound external message rejected by account"];

/// Which network something was recorded on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct On {
    pub(crate) prices: Fees,
    #[serde(rename = "globalId")]
    pub(crate) global_id: i32,
}

/// One line of a recording.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Configuration {
        configuration: String,
        #[serde(flatten)]
        on: On,
    },
    Message(Box<MessageLine>),
}

#[derive(Deserialize)]
struct MessageLine {
    #[serde(flatten)]
    on: On,
    scenario: String,
    now: u32,
    lt: String,
    seed: String,
    to: String,
    external: bool,
    message: String,
    before: String,
    transaction: Option<String>,
    after: Option<String>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(rename = "exitCode")]
    exit_code: Option<i32>,
}

/// What the official executor made of a message.
pub(crate) enum Answer {
    Executed(Box<Outcome>),
    /// With the exit code of the receiver's code, if it ran.
    Refused(Option<i32>),
}

/// A message, the account it came to, and what became of both.
pub(crate) struct Recorded {
    pub(crate) on: On,
    pub(crate) scenario: String,
    pub(crate) moment: Moment,
    pub(crate) before: ShardAccount,
    pub(crate) inbound: Inbound,
    pub(crate) answer: Answer,
}

/// The configuration of a network, and what happened there until the next one.
pub(crate) enum Entry {
    Configuration(On, Cell),
    Message(Box<Recorded>),
}

/// Networks that are recorded, as the recorder takes them. Each has a process of its own: they are most of
/// the time.
const NETWORKS: [[&str; 2]; 4] = [["current", "-3"], ["old", "-239"], ["old", "-3"], ["current", "-239"]];

/// Runs the recorder and gives what it wrote of each network.
///
/// # Panics
/// If it fails, or if its packages are not there.
pub(crate) fn record() -> Vec<String> {
    let modules = std::env::var_os(MODULES);
    let modules = modules.unwrap_or_else(|| panic!("{MODULES} is not set: run `cargo xtask test`"));
    // Node.js looks for packages in the folders above a module: a copy of what is needed, with a link to them.
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for source in SOURCES {
        copy_files(&root.join(source), &folder.path().join(source));
    }
    std::os::unix::fs::symlink(PathBuf::from(modules), folder.path().join("node_modules")).unwrap();
    let recordings = NETWORKS.map(|network| {
        let file = folder.path().join(network.join(" "));
        let mut node = Command::new("node");
        node.arg("devnet/tests/recorder/record.mjs").arg(&file).args(network).current_dir(folder.path());
        let child = node.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        (file, child.unwrap_or_else(|error| panic!("node: {error}")))
    });
    // All of them end before one is looked at.
    let ended = recordings.map(|(file, child): (PathBuf, Child)| (file, child.wait_with_output().unwrap()));
    let read = ended.map(|(file, output)| {
        assert!(output.status.success(), "the recorder: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::read_to_string(file).unwrap()
    });
    read.into()
}

/// The files of one folder, without the folders in it.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Each line of a recording.
pub(crate) fn entries(recording: &str) -> impl Iterator<Item = Entry> + '_ {
    recording.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Line::Configuration { configuration, on } => Entry::Configuration(on, cell(&configuration)),
        Line::Message(message) => Entry::Message(Box::new(message.read())),
    })
}

impl MessageLine {
    fn read(self) -> Recorded {
        let answer = match (self.transaction, self.after, self.refused) {
            (Some(transaction), Some(after), None) => {
                Answer::Executed(Box::new(Outcome::new(cell(&transaction), cell(&after).parse().unwrap())))
            }
            (None, None, Some(refused)) => {
                // Anything else would be a failure of the executor.
                let rejected = REJECTED.iter().any(|reason| refused.error.contains(reason));
                assert!(self.external && rejected, "{}", refused.error);
                Answer::Refused(refused.exit_code)
            }
            _ => panic!("a message with two answers or none"),
        };
        let mut seed = [0; 32];
        hex::decode_to_slice(self.seed, &mut seed).unwrap();
        Recorded {
            on: self.on,
            scenario: self.scenario,
            moment: Moment { time: self.now, block_lt: self.lt.parse().unwrap(), seed: HashBytes(seed) },
            before: cell(&self.before).parse().unwrap(),
            inbound: Inbound {
                to: self.to.parse().unwrap(),
                message: cell(&self.message),
                external: self.external,
            },
            answer,
        }
    }
}

fn cell(base64: &str) -> Cell {
    Boc::decode_base64(base64).unwrap()
}
