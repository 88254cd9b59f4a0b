//! What is done about epochs, a step at a time. It may end at any moment, and any number may run.

use std::sync::Arc;

use cocoon_ledger::Appending;
use cocoon_receipts::Digest;

use super::commitment::{Commitment, Cuts, FIRST, cuts_digest};
use super::error::EpochError;
use super::files::Folder;
use super::gather::{MOST_RECEIPTS, gather, gather_again, is_trimmed};
use super::journals::Journals;
use super::log::{Log, Sealed};
use super::publisher::{Publisher, Publishing};
use super::record::{Cut, Record};
use super::tree;
use crate::books::Books;
use crate::decision::{Decision, Opened};

/// Entries younger than this wait for the next epoch, seconds: by then the store has them on disk, whatever it may lose of
/// the last moments, and clocks may differ a little.
const SETTLED_FOR: u32 = 10;

/// How often journals are looked through where there was nothing for an epoch that is due: so many times within its
/// length.
const LOOKS: u32 = 60;

/// How often the registry is looked at where all is published, seconds.
const LOOK_AT_REGISTRY: u32 = 60;

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochStep {
    /// There is no log yet: no settler has begun it.
    NoLog,
    /// Another settler decides and publishes; the files are here.
    StandsBy,
    /// An epoch was decided.
    Decided {
        epoch: u32,
        receipts: u64,
    },
    /// The log was moved by another settler.
    Overtaken,
    Published(Publishing),
    /// No epoch is due, and all are published as far as is known.
    Idle,
}

/// Epochs of one ledger.
pub struct Epochs {
    books: Arc<dyn Books>,
    journals: Arc<dyn Journals>,
    publisher: Publisher,
    folder: Folder,
    every_s: u32,
    ours: Opened,
    log: Log,
    /// Records that `log` is made of.
    records: u64,
    /// The last epoch up to which all are in the folder.
    kept: u32,
    /// The last epoch after which journals are kept, as the ledger was told.
    told: Option<u32>,
    /// When the journals were last looked through.
    looked: Option<u32>,
    /// What publishing last came to, and when.
    published: Option<(Publishing, u32)>,
    most: usize,
}

impl Epochs {
    /// `ours` says whose log it must be, `every_s` how long an epoch is.
    #[must_use]
    pub fn new(
        books: Arc<dyn Books>,
        journals: Arc<dyn Journals>,
        publisher: Publisher,
        folder: Folder,
        every_s: u32,
        ours: Opened,
    ) -> Self {
        Self {
            books,
            journals,
            publisher,
            folder,
            every_s,
            ours,
            log: Log::default(),
            records: 0,
            kept: FIRST,
            told: None,
            looked: None,
            published: None,
            most: MOST_RECEIPTS,
        }
    }

    /// With at most so many receipts in an epoch.
    #[must_use]
    pub fn with_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    #[must_use]
    pub fn publisher_mut(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    #[must_use]
    pub(super) fn journals(&self) -> &dyn Journals {
        self.journals.as_ref()
    }

    /// Reads the log to its end.
    ///
    /// # Errors
    /// [`EpochError`], for a log that is not this wallet's too.
    pub async fn catch_up(&mut self) -> Result<(), EpochError> {
        loop {
            let records = self.books.decisions(self.records).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let decision = serde_json::from_str(&record).map_err(|_| EpochError::Record(self.records))?;
                self.take(&decision)?;
            }
        }
        match self.log.opened() {
            Some(opened) if *opened != self.ours => {
                Err(EpochError::OtherWallet { wallet: opened.wallet, global_id: opened.global_id })
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, decision: &Decision) -> Result<(), EpochError> {
        self.log.apply(decision).map_err(|source| EpochError::Log { at: self.records, source })?;
        self.records += 1;
        Ok(())
    }

    /// Does the next thing that is to be done; to be called again and again. One that is not `active` only keeps files.
    ///
    /// # Errors
    /// [`EpochError`]; the same step is to be tried again later.
    pub async fn step(&mut self, now: u32, active: bool) -> Result<EpochStep, EpochError> {
        self.catch_up().await?;
        if self.log.opened().is_none() {
            return Ok(EpochStep::NoLog);
        }
        self.keep_files().await?;
        if !active {
            return Ok(EpochStep::StandsBy);
        }
        self.keep_journals().await?;
        if let Some(step) = self.decide(now).await? {
            return Ok(step);
        }
        self.publish(now).await
    }

    /// Files of all epochs that were decided.
    async fn keep_files(&mut self) -> Result<(), EpochError> {
        while self.kept < self.log.last() {
            let epoch = self.kept + 1;
            if !self.folder.has(epoch)? {
                self.receipts_again(epoch).await?;
            }
            self.kept = epoch;
        }
        Ok(())
    }

    /// The receipts of an epoch, from its file, which is made if it is not there.
    ///
    /// # Errors
    /// [`EpochError::Gone`] where neither the folder nor the journals have them.
    pub async fn receipts(&self, sealed: Sealed) -> Result<Vec<Digest>, EpochError> {
        match self.folder.receipts(sealed).await? {
            Some(receipts) => Ok(receipts),
            None => self.receipts_again(sealed.commitment.epoch).await,
        }
    }

    /// Makes an epoch's file anew from the journals.
    async fn receipts_again(&self, epoch: u32) -> Result<Vec<Digest>, EpochError> {
        let (before, after) = (self.log_up_to(epoch - 1).await?, self.log_up_to(epoch).await?);
        let Some(sealed) = after.epoch(epoch).copied() else { return Err(EpochError::Gone(epoch)) };
        let gathered = match gather_again(self.journals(), before.cuts(), after.cuts()).await {
            Err(EpochError::Trimmed(_)) => return Err(EpochError::Gone(epoch)),
            other => other?,
        };
        let kept = self.folder.keep(sealed, after.cuts().clone(), gathered.clone()).await;
        if let Err(EpochError::Differs(_)) = kept
            && is_trimmed(self.journals(), before.cuts()).await?
        {
            return Err(EpochError::Gone(epoch));
        }
        kept.map(|()| gathered)
    }

    /// The log as it was when `epoch` was its last.
    async fn log_up_to(&self, epoch: u32) -> Result<Log, EpochError> {
        if epoch == self.log.last() {
            return Ok(self.log.clone());
        }
        let (mut log, mut at) = (Log::default(), 0);
        loop {
            let records = self.books.decisions(at).await?;
            if records.is_empty() {
                return Ok(log);
            }
            for record in records {
                let decision: Decision = serde_json::from_str(&record).map_err(|_| EpochError::Record(at))?;
                let is_later = matches!(&decision, Decision::Epoch(record) if record.number > epoch);
                if is_later {
                    return Ok(log);
                }
                log.apply(&decision).map_err(|source| EpochError::Log { at, source })?;
                at += 1;
            }
        }
    }

    /// Journals are kept after what is in an epoch that has its file; before the first one, from now on.
    async fn keep_journals(&mut self) -> Result<(), EpochError> {
        if self.told == Some(self.kept) {
            return Ok(());
        }
        for shard in self.journals.shards() {
            let cut = match self.log.cuts().get(&shard) {
                None => None,
                Some(cut) => match self.journals.last_entry(shard).await? {
                    None => return Err(EpochError::Lost(shard)),
                    Some(newest) => Some(super::journals::as_in_the_store_of(&newest, cut)?),
                },
            };
            self.journals.keep_after(shard, cut.as_ref()).await?;
        }
        self.told = Some(self.kept);
        Ok(())
    }

    /// Decides the next epoch if it is due and has something.
    async fn decide(&mut self, now: u32) -> Result<Option<EpochStep>, EpochError> {
        let before = self.log.sealed().last().copied();
        let is_due = before.is_none_or(|before| {
            let is_full = before.commitment.count >= self.most as u64;
            is_full || now >= before.at.saturating_add(self.every_s)
        });
        let pause = (self.every_s / LOOKS).max(1);
        let looks = self.looked.is_none_or(|looked| now >= looked.saturating_add(pause) || now < looked);
        if !is_due || !looks {
            return Ok(None);
        }
        let until_ms = u64::from(now.saturating_sub(SETTLED_FOR)) * 1000;
        let gathered = gather(self.journals(), self.log.cuts(), until_ms, self.most).await?;
        self.looked = Some(now);
        if gathered.receipts.is_empty() {
            return Ok(None);
        }
        let number = self.log.next().ok_or(EpochError::Numbers)?;
        // A clock that went back does not make the log's times go back.
        let at = before.map_or(now, |before| now.max(before.at));
        let record = record(number, at, self.log.cuts().clone(), &gathered.receipts, gathered.cuts);
        let decision = Decision::Epoch(record.clone());
        let text = serde_json::to_string(&decision).map_err(|_| EpochError::Record(self.records))?;
        match self.books.append(self.records, text).await? {
            Appending::Moved { .. } => {
                self.looked = None;
                Ok(Some(EpochStep::Overtaken))
            }
            Appending::Appended { .. } => {
                self.take(&decision)?;
                self.looked = None;
                if let Some(sealed) = self.log.epoch(number).copied() {
                    self.folder.keep(sealed, self.log.cuts().clone(), gathered.receipts).await?;
                }
                tracing::info!(epoch = number, receipts = record.receipts, root = %record.root, "an epoch is decided");
                Ok(Some(EpochStep::Decided { epoch: number, receipts: record.receipts }))
            }
        }
    }

    /// Publishes what the registry does not have.
    async fn publish(&mut self, now: u32) -> Result<EpochStep, EpochError> {
        if let Some((Publishing::Complete { last }, at)) = self.published
            && last == self.log.last()
            && (at..at.saturating_add(LOOK_AT_REGISTRY)).contains(&now)
        {
            return Ok(EpochStep::Idle);
        }
        let published = self.publisher.step(&self.log.roots(), now).await?;
        if self.published.as_ref().map(|(before, _)| before) != Some(&published) {
            match &published {
                Publishing::Complete { last } => tracing::info!(last, "all epochs are published"),
                Publishing::Held(why) => tracing::warn!(%why, "epochs are not published"),
                Publishing::Sent { .. } | Publishing::Waits { .. } => {}
            }
        }
        self.published = Some((published.clone(), now));
        Ok(EpochStep::Published(published))
    }
}

fn record(number: u32, at: u32, mut cuts: Cuts, receipts: &[Digest], moved: Vec<Cut>) -> Record {
    cuts.extend(moved.iter().map(|cut| (cut.shard, cut.at.clone())));
    let tree = tree::root(receipts);
    let count = receipts.len() as u64;
    let commitment = Commitment { epoch: number, count, cuts: cuts_digest(&cuts), tree };
    Record { number, at, receipts: count, tree, root: commitment.root(), cuts: moved }
}
