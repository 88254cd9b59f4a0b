//! `ledger import`: such a file into an empty ledger.

use std::path::Path;

use anyhow::Context;
use cocoon_ledger::transfer;

use super::{ANSWERS_STAY, place, print, tell};
use crate::config::Config;
use crate::open_ledger::open_archive;

pub(super) async fn import(config: &Path, from: &Path) -> anyhow::Result<()> {
    let config = Config::load(config)?;
    let archive = open_archive(&config)?;
    let place = place(&config);
    let done = transfer::import(&place, from, archive.as_ref(), &mut tell).await;
    let done = done.context("the ledger is not imported")?;
    let (records, entries) = (done.records, done.entries);
    print(&format!(
        "the ledger is as the file: {records} records, {entries} of them journal entries; {ANSWERS_STAY}"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use clap::Parser;
    use cocoon_ledger::{Grant, LedgerError, Options};
    use cocoon_receipts::{AccountId, NanoTon, RequestId};

    use crate::ledger_cli::{LedgerCommand, execute};

    #[derive(Parser)]
    struct Cli {
        #[command(subcommand)]
        command: LedgerCommand,
    }

    async fn run(words: &[&str]) -> anyhow::Result<()> {
        let cli = Cli::try_parse_from(["ledger"].iter().chain(words)).unwrap();
        execute(cli.command).await.map(drop)
    }

    fn config(folder: &std::path::Path, name: &str) -> (PathBuf, String) {
        let url = format!("sqlite:{}", folder.join(name).with_extension("db").display());
        let path = folder.join(name).with_extension("toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\nkeys_dir = \"keys\"\npolicy = \"policy.toml\"\n\
             operator_share_bps = 9000\nbackends = [{{ url = \"http://127.0.0.1:1\" }}]\n[ledger]\nurl = \"{url}\"\n[prices]\n"
        );
        std::fs::write(&path, text).unwrap();
        (path, url)
    }

    #[tokio::test]
    async fn a_ledger_is_carried_into_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let ((first, first_url), (second, second_url)) =
            (config(folder.path(), "first"), config(folder.path(), "second"));
        let file = folder.path().join("ledger.jsonl");
        let (first, second, to) = (first.to_str().unwrap(), second.to_str().unwrap(), file.to_str().unwrap());
        let export = ["export", "--config", first, "--to", to];
        let none = run(&export).await.unwrap_err();
        assert!(format!("{none:#}").contains("there is no ledger"), "{none:#}");
        assert!(!file.exists() && !folder.path().join("first.db").exists());

        let account: AccountId = "alice".parse().unwrap();
        let grant = Grant { id: RequestId::generate(), account: account.clone(), amount: NanoTon(500) };
        let ledger = cocoon_ledger::open(&first_url, Options::default()).await.unwrap();
        ledger.grant(&grant).await.unwrap();
        // It may be in use.
        run(&export).await.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = run(&export).await.unwrap_err();
        assert!(format!("{again:#}").contains("exists already"), "{again:#}");

        let import = ["import", "--config", second, "--from", to];
        run(&import).await.unwrap();
        let carried = cocoon_ledger::open(&second_url, Options::default()).await.unwrap();
        assert_eq!(carried.account(&account).await.unwrap(), ledger.account(&account).await.unwrap());
        let twice = run(&import).await.unwrap_err();
        assert!(format!("{twice:#}").contains("not empty"), "{twice:#}");
        let other = Options { shards: cocoon_ledger::ShardCount::new(8).unwrap(), ..Options::default() };
        let opened = cocoon_ledger::open(&second_url, other).await;
        assert!(matches!(opened, Err(LedgerError::Configuration(_))));
    }
}
