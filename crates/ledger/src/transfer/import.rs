//! From a file into an empty ledger.

use std::path::Path;

use super::count::Count;
use super::file::Reading;
use super::progress::Reporter;
use super::record::Record;
use super::{Page, Part, Place, Progress, Step, Target, TransferError, Transferred, read_part};
use crate::embedded::Embedded;
use crate::redis::RedisLedger;
use crate::{Archive, Pace, check_shard, replayed};

/// Fills the ledger at `place`, which is empty or not there, with what is in the file `path`: after the file was found to
/// be whole. In the end the ledger is read again and compared, and its journal is replayed: from the `archive` on, where that
/// has its beginning.
///
/// # Errors
/// [`TransferError`]; after [`TransferError::Incomplete`] the ledger is of no use, and no gateway opens it.
pub async fn import(
    place: &Place,
    path: &Path,
    archive: Option<&Archive>,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Transferred, TransferError> {
    let shards = place.options.shards;
    let mut file = Reading::open(path)?;
    let mut expected = Count::default();
    let mut report = Reporter::new(shards, progress);
    report.begin(Step::Verifying);
    while let Some((part, record)) = file.next()? {
        report.at(part, expected.records);
        if matches!(&record, Record::Retention(kept) if kept.trimmed.is_some()) && archive.is_none() {
            return Err(TransferError::NeedsArchive);
        }
        expected.add(&record)?;
    }
    report.end(expected.records);
    same("shards", file.header().shards, shards.get())?;
    same("test_clock", file.header().test_clock, place.options.test_clock)?;
    let target = open(place).await?;
    match fill(target.as_ref(), file, archive, &expected, &mut report).await {
        Ok(()) => Ok(Transferred { records: expected.records, entries: expected.entries() }),
        Err(error) => Err(TransferError::Incomplete(Box::new(error))),
    }
}

async fn open(place: &Place) -> Result<Box<dyn Target>, TransferError> {
    let Place { url, options, .. } = place;
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Ok(Box::new(Embedded::fill(path, options.clone()).await?));
    }
    crate::only_redis(url)?;
    Ok(Box::new(RedisLedger::fill(url, options.clone(), &place.patient_access()).await?))
}

async fn fill(
    target: &dyn Target,
    file: Reading,
    archive: Option<&Archive>,
    expected: &Count,
    report: &mut Reporter<'_>,
) -> Result<(), TransferError> {
    write(target, file.again()?, report).await?;
    let mut found = Count::default();
    report.begin(Step::Comparing);
    for part in Part::all(report.shards()) {
        report.at(part, found.records);
        read_part(target, part, |page| Ok(page.iter().try_for_each(|record| found.add(record))?)).await?;
    }
    report.end(found.records);
    expected.compare(&found)?;
    report.begin(Step::Checking);
    let mut entries = 0;
    for shard in report.shards().all() {
        report.at(Part::Shard(shard), entries);
        let begin = replayed(target.ledger(), archive, shard).await?;
        let checked = check_shard(target.ledger(), shard, begin, Pace::FULL).await?;
        if !checked.is_clean() {
            return Err(TransferError::Books { shard, findings: checked.found });
        }
        entries += checked.entries;
    }
    report.end(entries);
    Ok(target.complete().await?)
}

/// The whole file once more: whoever changed it meanwhile is noticed at its end.
async fn write(
    target: &dyn Target,
    mut file: Reading,
    report: &mut Reporter<'_>,
) -> Result<(), TransferError> {
    report.begin(Step::Importing);
    let (mut page, mut of, mut records) = (Page::default(), Part::Shared, 0);
    while let Some((part, record)) = file.next()? {
        if part != of {
            target.write(of, page.take()).await?;
            of = part;
        }
        report.at(part, records);
        records += 1;
        if page.add(record) {
            target.write(of, page.take()).await?;
        }
    }
    target.write(of, page.take()).await?;
    report.end(records);
    Ok(())
}

fn same<T: PartialEq + std::fmt::Display>(
    option: &'static str,
    found: T,
    wanted: T,
) -> Result<(), TransferError> {
    if found == wanted {
        return Ok(());
    }
    Err(TransferError::OtherOptions { option, found: found.to_string(), wanted: wanted.to_string() })
}
