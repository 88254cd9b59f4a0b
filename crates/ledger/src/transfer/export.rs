//! From a ledger into a file.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::count::Count;
use super::file::{Header, Writing};
use super::progress::Reporter;
use super::{Part, Place, Progress, Source, Step, TransferError, Transferred, read_part};
use crate::Shard;
use crate::embedded::transfer::Snapshot;
use crate::redis::RedisLedger;

/// Readings of a shard that changes meanwhile.
const READINGS: usize = 5;

/// Writes the ledger at `place` into the file `path`, which must not be there: it appears there whole, with mode 0600.
/// SQLite is read as it is at one moment, and may be in use; Redis must not be.
///
/// # Errors
/// [`TransferError`]; then there is no file.
pub async fn export(
    place: &Place,
    path: &Path,
    progress: &mut (dyn FnMut(&Progress) + Send),
) -> Result<Transferred, TransferError> {
    let source = open(place).await?;
    let (source, shards) = (source.as_ref(), place.options.shards);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let header = Header::new(source.store(), shards.get(), place.options.test_clock, now_ms);
    let mut file = Writing::begin(path, &header)?;
    let mut count = Count::default();
    let mut report = Reporter::new(shards, progress);
    report.begin(Step::Exporting);
    for part in Part::all(shards) {
        report.at(part, count.records);
        match part {
            Part::Shared => write(source, part, &mut file, &mut count).await?,
            Part::Shard(shard) => count = write_at_rest(source, shard, &mut file, &count).await?,
        }
    }
    report.end(count.records);
    file.finish()?;
    Ok(Transferred { records: count.records, entries: count.entries() })
}

async fn open(place: &Place) -> Result<Box<dyn Source>, TransferError> {
    let Place { url, options, .. } = place;
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = Path::new(path);
        // To open it would make one.
        if !path.exists() {
            return Err(TransferError::NoLedger(path.to_owned()));
        }
        return Ok(Box::new(Snapshot::of(path, options.clone()).await?));
    }
    crate::only_redis(url)?;
    Ok(Box::new(RedisLedger::connect_with(url, options.clone(), &place.patient_access()).await?))
}

async fn write(
    source: &dyn Source,
    part: Part,
    file: &mut Writing,
    count: &mut Count,
) -> Result<(), TransferError> {
    read_part(source, part, |page| {
        for record in &page {
            file.record(record)?;
            count.add(record)?;
        }
        Ok(())
    })
    .await
}

/// Writes a shard as it was at one moment: again where it changed while it was read.
async fn write_at_rest(
    source: &dyn Source,
    shard: Shard,
    file: &mut Writing,
    before: &Count,
) -> Result<Count, TransferError> {
    for _ in 0..READINGS {
        let (mut count, so_far) = (before.clone(), file.so_far());
        let state = source.state(shard).await?;
        match write(source, Part::Shard(shard), file, &mut count).await {
            Ok(()) if source.state(shard).await? == state => return Ok(count),
            // What changed may be why it was not readable.
            Err(error) if source.state(shard).await? == state => return Err(error),
            Err(error @ TransferError::File { .. }) => return Err(error),
            _ => file.back_to(so_far)?,
        }
    }
    Err(TransferError::InUse(shard))
}
