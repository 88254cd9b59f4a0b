//! What is not whole is not imported, and what was not imported whole is not used.

use std::path::{Path, PathBuf};

use cocoon_ledger::transfer::{self, Progress, Step, TransferError};
use cocoon_ledger::{LedgerError, Options, ShardCount};
use cocoon_receipts::Digest;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{To, empty, export, import, place};
use crate::bench::*;
use crate::redis_server::RedisServer;

/// An export of a small ledger.
async fn exported() -> (TempDir, PathBuf) {
    let (bench, folder) = (Bench::embedded().await, tempfile::tempdir().unwrap());
    for account in ACCOUNTS {
        bench.fund(account, 1000).await;
        let request = bench.bound(account, 100).await;
        bench.settle(&bench.settlement(account, request, 70)).await;
    }
    let decided = ["first", "second"].map(str::to_owned);
    bench.ledger.append_decisions(0, &decided).await.unwrap();
    bench.ledger.open_channel(&opening(CHANNELS[0], 100, 0)).await.unwrap();
    bench.ledger.raise_ceiling(&name(CHANNELS[0]), &voucher(60)).await.unwrap();
    let file = folder.path().join("export");
    export(&bench.url, &file).await.unwrap();
    (folder, file)
}

/// Refused, and nothing was made for it.
async fn is_damaged(file: &Path, why: &str) {
    let (url, folder) = empty(To::Embedded);
    let refused = import(&url, file).await;
    assert!(matches!(refused, Err(TransferError::Damaged { .. })), "{why}: {refused:?}");
    assert_eq!(std::fs::read_dir(folder.unwrap().path()).unwrap().count(), 0, "{why}");
}

/// `lines` and an end that fits them.
fn sealed(lines: &[&str]) -> String {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (records, digest) = (lines.len() - 1, Digest::of(&[body.as_bytes()]));
    format!("{body}{{\"end\":{{\"records\":{records},\"sha256\":\"{digest}\"}}}}\n")
}

#[tokio::test]
async fn a_file_that_is_not_whole_is_refused_before_anything_is_written() {
    let (folder, file) = exported().await;
    let whole = std::fs::read(&file).unwrap();
    let changed = folder.path().join("changed");
    let is_refused = async |bytes: &[u8], why: &str| {
        std::fs::write(&changed, bytes).unwrap();
        is_damaged(&changed, why).await;
    };
    let places = (0..40).map(|part| part * (whole.len() - 1) / 39);
    for place in places {
        let mut flipped = whole.clone();
        flipped[place] ^= 1;
        is_refused(&flipped, &format!("byte {place} is another")).await;
        is_refused(&whole[..place], &format!("it ends at {place}")).await;
    }
    is_refused(&[&whole[..], b"\n"].concat(), "something follows").await;
    is_refused(&[&whole[..], &whole[..]].concat(), "it is there twice").await;

    let text = String::from_utf8(whole.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (end, lines) = lines.split_last().unwrap();
    let joined = |lines: &[&str]| format!("{}\n{end}\n", lines.join("\n"));
    assert_eq!(joined(lines), text);
    assert_eq!(sealed(lines), text, "the end is as the test makes it");
    let (some, last) = (lines.len() / 2, lines.len() - 1);
    is_refused(joined(&[&lines[..some], &lines[some + 1..]].concat()).as_bytes(), "a line is missing").await;
    is_refused(joined(&[&lines[..some], &lines[last..], &lines[some..]].concat()).as_bytes(), "one too many")
        .await;

    // Whole by its digest, and yet no ledger.
    let shards: Vec<usize> =
        (0..lines.len()).filter(|line| lines[*line].starts_with("{\"shard\":{\"shard\"")).collect();
    let keyset = "{\"keyset\":{\"bytes\":\"AAAA\"}}";
    let strange = "{\"years\":{}}";
    let cap = "{\"cap\":{\"account\":\"alice\",\"name\":\"revoked:key\",\"value\":\"soon\"}}";
    let channel = *lines.iter().find(|line| line.starts_with("{\"channel\":")).unwrap();
    let unbounded = channel.replace("\"deposited\":\"100\"", "\"deposited\":\"59\"");
    let misnamed = channel.replace("channel:aaaa", "channel:AAAA");
    let unsigned = channel.replace("\"signature\":\"", "\"signature\":\"00");
    let decided = lines.iter().position(|line| line.starts_with("{\"decision\":")).unwrap();
    let (before, [first, second, after @ ..]) = lines.split_at(decided) else { panic!("two are decided") };
    let empty_decision = first.replace("\"first\"", "\"\"");
    for (lines, why) in [
        ([before, &[second], after].concat(), "the first decision is missing"),
        ([before, &[second, first], after].concat(), "decisions in another order"),
        ([before, &[first, first, second], after].concat(), "a decision is there twice"),
        ([before, &[empty_decision.as_str(), second], after].concat(), "a decision says nothing"),
        ([before, after, &[first, second]].concat(), "decisions of another shard"),
        (lines[..shards[2]].to_vec(), "a shard is missing"),
        ([lines, &lines[shards[2]..]].concat(), "a shard is there twice"),
        ([&lines[..shards[1]], &lines[shards[2]..]].concat(), "a shard in between is missing"),
        ([lines, &[keyset]].concat(), "a keyset after the shards"),
        ([&lines[..1], &lines[last..], &lines[1..]].concat(), "a record before its shard"),
        ([lines, &[strange]].concat(), "a record of another kind"),
        ([lines, &[cap]].concat(), "a cap that no operation reads"),
        ([&lines[..1], &[channel], &lines[1..]].concat(), "a channel before its shard"),
        ([lines, &[&unbounded]].concat(), "a channel with a ceiling above its deposit"),
        ([lines, &[&misnamed]].concat(), "a channel under another name"),
        ([lines, &[&unsigned]].concat(), "a voucher with a signature of another length"),
        ([&["{\"format\":\"cocoon-ledger\"}"], &lines[1..]].concat(), "another first line"),
    ] {
        is_refused(sealed(&lines).as_bytes(), why).await;
    }
    let newer = lines[0].replace("\"version\":1", "\"version\":2");
    is_refused(sealed(&[&[newer.as_str()], &lines[1..]].concat()).as_bytes(), "a later version").await;
    let long =
        format!("{{\"deposit\":\"{}\"}}", "1".repeat(usize::try_from(transfer::MAX_LINE_BYTES).unwrap()));
    is_refused(sealed(&[lines, &[long.as_str()]].concat()).as_bytes(), "a line without end").await;

    std::fs::write(&changed, whole).unwrap();
    let (url, _folder) = empty(To::Embedded);
    import(&url, &changed).await.unwrap();
}

/// Guards against: a ceiling that nobody paid for.
#[tokio::test]
async fn a_ceiling_that_the_journal_does_not_make_is_not_taken_over() {
    let (folder, file) = exported().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lowered = text.replace("\"cumulative\":\"60\"", "\"cumulative\":\"59\"");
    assert_ne!(lowered, text);
    let mut lines: Vec<&str> = lowered.lines().collect();
    lines.pop();
    let changed = folder.path().join("changed");
    std::fs::write(&changed, sealed(&lines)).unwrap();
    let (url, _folder) = empty(To::Embedded);
    let refused = import(&url, &changed).await;
    let Err(TransferError::Incomplete(why)) = refused else { panic!("{refused:?}") };
    assert!(matches!(*why, TransferError::Books { .. }), "{why}");
}

#[tokio::test]
async fn a_file_of_other_options_is_refused() {
    let (_folder, file) = exported().await;
    let others = [
        ("shards", Options { shards: ShardCount::new(4).unwrap(), ..options() }),
        ("test_clock", Options { test_clock: false, ..options() }),
    ];
    for (named, options) in others {
        let (url, folder) = empty(To::Embedded);
        let place = transfer::Place { options, ..place(&url) };
        let refused = transfer::import(&place, &file, None, &mut |_| ()).await;
        let Err(TransferError::OtherOptions { option, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(option, named);
        assert_eq!(std::fs::read_dir(folder.unwrap().path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn books_that_do_not_fit_their_journal_are_not_taken_over() {
    let (folder, file) = exported().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.pop();
    let entry = lines.iter().position(|line| line.starts_with("{\"journal\":")).unwrap();
    lines.remove(entry);
    let changed = folder.path().join("changed");
    std::fs::write(&changed, sealed(&lines)).unwrap();
    let (url, _folder) = empty(To::Embedded);
    let refused = import(&url, &changed).await;
    let Err(TransferError::Incomplete(why)) = refused else { panic!("{refused:?}") };
    assert!(matches!(*why, TransferError::Books { .. }), "{why}");
    is_marked(&url, &file).await;
}

/// Neither a gateway nor another import takes it.
async fn is_marked(url: &str, file: &Path) {
    for _ in 0..2 {
        let Err(LedgerError::Configuration(reason)) = cocoon_ledger::open(url, options()).await else {
            panic!("a ledger that is not filled can be opened")
        };
        assert!(reason.contains("import again"), "{reason}");
        let again = import(url, file).await;
        assert!(matches!(again, Err(TransferError::Ledger(LedgerError::Configuration(_)))), "{again:?}");
        let carried_on = export(url, &file.with_extension("half")).await;
        assert!(
            matches!(carried_on, Err(TransferError::Ledger(LedgerError::Configuration(_)))),
            "{carried_on:?}"
        );
    }
}

#[tokio::test]
async fn an_import_that_was_killed_leaves_nothing_that_can_be_used() {
    let (_folder, file) = exported().await;
    let server = RedisServer::start();
    for to in [To::Embedded, To::Redis(&server)] {
        let (url, _folder) = empty(to);
        let begun = Notify::new();
        let mut progress = |progress: &Progress| {
            if progress.step == Step::Importing {
                begun.notify_one();
            }
        };
        let place = place(&url);
        tokio::select! {
            biased;
            () = begun.notified() => {}
            done = transfer::import(&place, &file, None, &mut progress) => panic!("{done:?}"),
        }
        is_marked(&url, &file).await;
    }
    // Emptied, it is as good as any.
    let (url, _) = empty(To::Redis(&server));
    import(&url, &file).await.unwrap();
}

#[tokio::test]
async fn only_an_empty_ledger_is_filled() {
    let (_folder, file) = exported().await;
    let server = RedisServer::start();
    for to in [To::Embedded, To::Redis(&server)] {
        let (url, _folder) = empty(to);
        let ledger = cocoon_ledger::open(&url, options()).await.unwrap();
        // A gateway that started, and swept.
        for shard in options().shards.all() {
            ledger.expired(shard, 10).await.unwrap();
        }
        drop(ledger);
        import(&url, &file).await.unwrap();
        let full = import(&url, &file).await;
        let Err(TransferError::Ledger(LedgerError::Configuration(reason))) = full else { panic!("{full:?}") };
        assert!(reason.contains("not empty"), "{reason}");
        // It is as it was.
        cocoon_ledger::open(&url, options()).await.unwrap();

        let (url, _folder) = empty(to);
        let ledger = cocoon_ledger::open(&url, options()).await.unwrap();
        ledger.put_keyset(b"accepted").await.unwrap();
        let used = import(&url, &file).await;
        assert!(matches!(used, Err(TransferError::Ledger(LedgerError::Configuration(_)))), "{used:?}");
        ledger.ping().await.unwrap();
    }
}
