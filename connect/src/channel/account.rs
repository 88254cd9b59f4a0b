//! What the sidecar reckons of its channel: what ended requests have cost, what running ones may still cost, and the
//! ceiling that was signed. Nothing here signs, stores or asks.

use cocoon_receipts::NanoTon;

/// A request that the deposit does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{left} nanoTON of the deposit are left, and the request may cost {part}")]
pub struct Exhausted {
    /// NanoTON that no request has used or may still use.
    pub left: NanoTon,
    /// NanoTON that the request may cost.
    pub part: NanoTon,
}

/// The gateway's word: what it claims, and what it holds for running requests. NanoTON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub charged: NanoTon,
    pub held: NanoTon,
}

/// When the gateway was asked: what is heard is about requests that ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    begun: u64,
    running: u64,
    spent: NanoTon,
}

/// One channel's account. Amounts are nanoTON.
///
/// Always: spent + open ≤ signed ≤ deposited, but for a deposit that is known to have shrunk; signed never falls.
#[derive(Debug)]
pub struct Account {
    deposited: NanoTon,
    signed: NanoTon,
    /// What ended requests have cost: by their receipts, or all that they might have, where none came.
    spent: NanoTon,
    /// What running requests may cost.
    open: NanoTon,
    running: u64,
    /// Requests that have begun so far.
    begun: u64,
    /// Whether less than `spent` may really have been spent.
    unsure: bool,
}

impl Account {
    /// After a start: all that was ever signed counts as spent, until the gateway's word says less.
    #[must_use]
    pub fn new(deposited: NanoTon, signed: NanoTon) -> Self {
        let (spent, open) = (signed, NanoTon::ZERO);
        Self { deposited, signed, spent, open, running: 0, begun: 0, unsure: true }
    }

    /// The ceiling that was signed.
    #[must_use]
    pub fn signed(&self) -> NanoTon {
        self.signed
    }

    /// What further requests may cost.
    #[must_use]
    pub fn left(&self) -> NanoTon {
        NanoTon(self.deposited.0.saturating_sub(self.needed().0))
    }

    /// Whether the gateway's word may say that less was spent.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        self.unsure
    }

    fn needed(&self) -> NanoTon {
        NanoTon(self.spent.0.saturating_add(self.open.0))
    }

    /// The gateway reckons otherwise: its word is needed.
    pub fn doubt(&mut self) {
        self.unsure = true;
    }

    /// More was deposited, or a part given back. Whether it is another deposit than before.
    pub fn set_deposited(&mut self, deposited: NanoTon) -> bool {
        std::mem::replace(&mut self.deposited, deposited) != deposited
    }

    /// A request begins that costs at most `part`. The ceiling that covers it and all others, which is to be signed.
    ///
    /// # Errors
    /// [`Exhausted`]; nothing has changed then.
    pub fn begin(&mut self, part: NanoTon) -> Result<NanoTon, Exhausted> {
        let ceiling = self.needed().checked_add(part).filter(|ceiling| *ceiling <= self.deposited);
        let ceiling = ceiling.ok_or(Exhausted { left: self.left(), part })?;
        self.open = NanoTon(self.open.0.saturating_add(part.0));
        self.running += 1;
        self.begun += 1;
        self.signed = self.signed.max(ceiling);
        Ok(ceiling)
    }

    fn end(&mut self, part: NanoTon, cost: NanoTon) {
        self.open = NanoTon(self.open.0.saturating_sub(part.0));
        self.running = self.running.saturating_sub(1);
        // No more than was signed for it, whatever a receipt says.
        self.spent = NanoTon(self.spent.0.saturating_add(cost.min(part).0));
    }

    /// Its verified receipt has come.
    pub fn charge(&mut self, part: NanoTon, cost: NanoTon) {
        self.end(part, cost);
    }

    /// It was not admitted: it costs nothing.
    pub fn free(&mut self, part: NanoTon) {
        self.end(part, NanoTon::ZERO);
    }

    /// What became of it is not known: it counts in full.
    pub fn lose(&mut self, part: NanoTon) {
        self.end(part, part);
        self.unsure |= part > NanoTon::ZERO;
    }

    /// Before the gateway is asked.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { begun: self.begun, running: self.running, spent: self.spent }
    }

    /// The gateway's word, which it was asked for at `moment`; one at a time.
    ///
    /// Where nothing ran meanwhile, it is all there is to know, up to what was signed. Else it can only lower what
    /// was spent before that moment: it may have been said before requests of ours were admitted, and counts others
    /// that are open here.
    pub fn heard(&mut self, moment: Moment, word: Word) {
        let claimed = NanoTon(word.charged.0.saturating_add(word.held.0));
        let quiet = moment.running == 0 && moment.begun == self.begun;
        if quiet {
            self.spent = claimed.min(self.signed);
            self.unsure = word.held > NanoTon::ZERO;
        } else {
            let since = self.spent.0.saturating_sub(moment.spent.0);
            let before = moment.spent.min(claimed);
            self.spent = self.spent.min(NanoTon(before.0.saturating_add(since)));
        }
    }
}
