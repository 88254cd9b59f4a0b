//! The chain in a file, so that it goes on where it was after the process has ended, however it ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction as Sql, params};
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;
use tycho_types::models::{ShardAccount, StdAddr, Transaction};

use crate::audit::{NotAChain, audit};
use crate::clock::Clock;
use crate::state::{Block, Change, Delivery, Recorded, State, Supply, TransactionId, account_to_boc};
use crate::{Fees, Network};

/// Tells such a file from another database: "ccdv".
const APPLICATION: i32 = 0x6363_6476;

/// Of the schema.
const VERSION: i32 = 1;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS about (id INTEGER PRIMARY KEY CHECK (id = 0), network TEXT NOT NULL,
        clock TEXT NOT NULL, supply TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS block (seqno INTEGER PRIMARY KEY, block TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS account (address TEXT PRIMARY KEY, account BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS recorded (seqno INTEGER NOT NULL, place INTEGER NOT NULL,
        cell BLOB NOT NULL, PRIMARY KEY (seqno, place)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS delivery (place INTEGER PRIMARY KEY, due INTEGER NOT NULL,
        message BLOB NOT NULL) STRICT;
";

/// Why a chain's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another process has the file")]
    InUse,
    #[error("the file is a database of something else, or of another version of cocoon-devnet")]
    NotOurs,
    #[error("the file: {0}")]
    Sql(rusqlite::Error),
    #[error("the file is damaged, a cell in it: {0}")]
    Cell(#[from] tycho_types::error::Error),
    #[error("the file is damaged, a text in it: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the file is damaged: {0}")]
    Content(&'static str),
    #[error("the file is damaged: {0}")]
    NotAChain(#[from] NotAChain),
    #[error("the file has a chain with {found:?} fees and number {global_id}, which is another one")]
    OtherNetwork { found: Fees, global_id: i32 },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse,
            _ => Self::Sql(error),
        }
    }
}

/// What names a network in the file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Named {
    fees: Fees,
    global_id: i32,
}

/// A file with one chain. One process has it at a time.
pub struct Store {
    sql: Connection,
}

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it, [`StoreError::NotOurs`], [`StoreError::Sql`].
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let mut sql = Connection::open(file)?;
        // Who has the file has it for as long as it runs: waiting would not help.
        sql.busy_timeout(std::time::Duration::ZERO)?;
        sql.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let number = |sql: &Connection, name| sql.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let tables: u32 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let named = (number(&sql, "application_id")?, number(&sql, "user_version")?);
        if tables > 0 && named != (APPLICATION, VERSION) {
            return Err(StoreError::NotOurs);
        }
        sql.pragma_update(None, "journal_mode", "WAL")?;
        sql.pragma_update(None, "synchronous", "FULL")?;
        // Written at every start, so that the lock is there from now on.
        let schema = sql.transaction()?;
        schema.execute_batch(SCHEMA)?;
        schema.pragma_update(None, "application_id", APPLICATION)?;
        schema.pragma_update(None, "user_version", VERSION)?;
        schema.commit()?;
        Ok(Self { sql })
    }

    /// The chain; none in a new file.
    pub(crate) fn load(&mut self, network: &Network) -> Result<Option<(State, Clock)>, StoreError> {
        let about = self.sql.query_row("SELECT network, clock, supply FROM about", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let Some((named, clock, supply)) = about.optional()? else { return Ok(None) };
        let Named { fees, global_id } = serde_json::from_str(&named)?;
        if (fees, global_id) != (network.fees(), network.global_id()) {
            return Err(StoreError::OtherNetwork { found: fees, global_id });
        }
        let mut state = self.blocks()?;
        state.accounts = self.accounts()?;
        state.queue = self.queue()?;
        state.supply = serde_json::from_str::<Supply>(&supply)?;
        audit(network, &state)?;
        Ok(Some((state, serde_json::from_str(&clock)?)))
    }

    fn blocks(&self) -> Result<State, StoreError> {
        let mut blocks = Vec::new();
        let mut history: BTreeMap<StdAddr, Vec<Arc<Recorded>>> = BTreeMap::new();
        let mut select = self.sql.prepare("SELECT block FROM block ORDER BY seqno")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let block: Block =
                serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            blocks.push(Arc::new(block));
        }
        let mut select = self.sql.prepare("SELECT seqno, place, cell FROM recorded ORDER BY seqno, place")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (seqno, place): (u32, u32) = (row.get(0)?, row.get(1)?);
            let missing = StoreError::Content("a transaction of no block");
            let block: &Arc<Block> = blocks.get(seqno as usize).ok_or(missing)?;
            let missing = StoreError::Content("a transaction that its block does not have");
            let id: TransactionId = block.transactions.get(place as usize).ok_or(missing)?.clone();
            let cell = cell(&row.get::<_, Vec<u8>>(2)?)?;
            if *cell.repr_hash() != id.hash {
                return Err(StoreError::Content("a transaction that is not the block's"));
            }
            let previous_lt = cell.parse::<Transaction>()?.prev_trans_lt;
            let recorded = Arc::new(Recorded { id: id.clone(), cell, previous_lt, seqno });
            history.entry(id.account).or_default().push(recorded);
        }
        let mut state = State::of_blocks(blocks).ok_or(StoreError::Content("no blocks"))?;
        state.history = history;
        Ok(state)
    }

    fn accounts(&self) -> Result<BTreeMap<StdAddr, ShardAccount>, StoreError> {
        let mut select = self.sql.prepare("SELECT address, account FROM account")?;
        let mut rows = select.query([])?;
        let mut accounts = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let address: String = row.get(0)?;
            let address = address.parse().map_err(|_| StoreError::Content("an address"))?;
            accounts.insert(address, cell(&row.get::<_, Vec<u8>>(1)?)?.parse::<ShardAccount>()?);
        }
        Ok(accounts)
    }

    fn queue(&self) -> Result<Vec<Delivery>, StoreError> {
        let mut select = self.sql.prepare("SELECT due, message FROM delivery ORDER BY place")?;
        let mut rows = select.query([])?;
        let mut queue = Vec::new();
        while let Some(row) = rows.next()? {
            let delivery = Delivery::of(cell(&row.get::<_, Vec<u8>>(1)?)?, row.get(0)?)?;
            queue.push(delivery.ok_or(StoreError::Content("a message"))?);
        }
        Ok(queue)
    }

    /// Writes one block and what it changed, whole or not at all.
    pub(crate) fn append(&mut self, change: &Change) -> Result<(), StoreError> {
        let sql = self.sql.transaction()?;
        write_block(&sql, &change.block)?;
        for (recorded, place) in change.recorded.iter().zip(0..) {
            write_recorded(&sql, recorded, place)?;
        }
        for (address, account) in &change.accounts {
            write_account(&sql, address, account.as_ref())?;
        }
        write_queue(&sql, &change.queue)?;
        sql.execute("UPDATE about SET supply = ?1", [serde_json::to_string(&change.supply)?])?;
        Ok(sql.commit()?)
    }

    /// Writes a message that is on its way at this place, after all others.
    pub(crate) fn enqueue(
        &mut self,
        place: usize,
        delivery: &Delivery,
        supply: &Supply,
    ) -> Result<(), StoreError> {
        let sql = self.sql.transaction()?;
        write_delivery(&sql, place, delivery)?;
        sql.execute("UPDATE about SET supply = ?1", [serde_json::to_string(supply)?])?;
        Ok(sql.commit()?)
    }

    pub(crate) fn set_clock(&mut self, clock: Clock) -> Result<(), StoreError> {
        self.sql.execute("UPDATE about SET clock = ?1", [serde_json::to_string(&clock)?])?;
        Ok(())
    }

    /// Writes a whole chain in place of what there was.
    pub(crate) fn replace(
        &mut self,
        network: &Network,
        state: &State,
        clock: Clock,
    ) -> Result<(), StoreError> {
        let sql = self.sql.transaction()?;
        sql.execute_batch(
            "DELETE FROM about; DELETE FROM block; DELETE FROM account; DELETE FROM recorded;",
        )?;
        let named = Named { fees: network.fees(), global_id: network.global_id() };
        sql.execute(
            "INSERT INTO about (id, network, clock, supply) VALUES (0, ?1, ?2, ?3)",
            params![
                serde_json::to_string(&named)?,
                serde_json::to_string(&clock)?,
                serde_json::to_string(&state.supply)?
            ],
        )?;
        for block in state.blocks() {
            write_block(&sql, block)?;
            for (id, place) in block.transactions.iter().zip(0..) {
                let missing = StoreError::Content("a block without its transaction");
                write_recorded(&sql, state.transaction(&id.account, id.lt).ok_or(missing)?, place)?;
            }
        }
        for (address, account) in &state.accounts {
            write_account(&sql, address, Some(account))?;
        }
        write_queue(&sql, &state.queue)?;
        Ok(sql.commit()?)
    }
}

fn cell(boc: &[u8]) -> Result<Cell, StoreError> {
    Boc::decode(boc).map_err(|_| StoreError::Content("a bag of cells"))
}

fn write_block(sql: &Sql<'_>, block: &Block) -> Result<(), StoreError> {
    let text = serde_json::to_string(block)?;
    sql.prepare_cached("INSERT INTO block (seqno, block) VALUES (?1, ?2)")?
        .execute(params![block.seqno, text])?;
    Ok(())
}

fn write_recorded(sql: &Sql<'_>, recorded: &Recorded, place: u32) -> Result<(), StoreError> {
    sql.prepare_cached("INSERT INTO recorded (seqno, place, cell) VALUES (?1, ?2, ?3)")?.execute(params![
        recorded.seqno,
        place,
        Boc::encode(&recorded.cell)
    ])?;
    Ok(())
}

fn write_account(sql: &Sql<'_>, address: &StdAddr, account: Option<&ShardAccount>) -> Result<(), StoreError> {
    let address = address.to_string();
    match account {
        Some(account) => sql
            .prepare_cached("INSERT OR REPLACE INTO account (address, account) VALUES (?1, ?2)")?
            .execute(params![address, account_to_boc(account)?])?,
        None => sql.prepare_cached("DELETE FROM account WHERE address = ?1")?.execute([address])?,
    };
    Ok(())
}

fn write_queue(sql: &Sql<'_>, queue: &[Delivery]) -> Result<(), StoreError> {
    sql.execute("DELETE FROM delivery", [])?;
    for (place, delivery) in queue.iter().enumerate() {
        write_delivery(sql, place, delivery)?;
    }
    Ok(())
}

fn write_delivery(sql: &Sql<'_>, place: usize, delivery: &Delivery) -> Result<(), StoreError> {
    let place = i64::try_from(place).map_err(|_| StoreError::Content("too many messages"))?;
    sql.prepare_cached("INSERT INTO delivery (place, due, message) VALUES (?1, ?2, ?3)")?
        .execute(params![place, delivery.due, Boc::encode(&delivery.message)])?;
    Ok(())
}

#[cfg(test)]
mod tests;
