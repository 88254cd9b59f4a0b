//! The key that says which schema and options a ledger has, and while it is being filled that it must not be used.

use ::redis::cmd;

use super::functions::Function;
use super::reply::Reply;
use super::{RedisLedger, names};
use crate::rules::{created_with, half_filled};
use crate::{LedgerError, Options};

pub(super) const SCHEMA: &str = "2";

/// In the schema's place while an import fills the ledger: no build opens such a one.
pub(super) const FILLING: &str = "filling";

impl RedisLedger {
    /// Makes the ledger where there is none, and sees that it is one that may be used with these options.
    pub(super) async fn create(&self, options: &Options) -> Result<(), LedgerError> {
        let (shards, test_clock) = (options.shards.get().to_string(), options.test_clock.to_string());
        let args = [SCHEMA.to_owned(), shards.clone(), test_clock.clone()];
        let made = self.functions.call_durably(Function::Create, &[names::SCHEMA.to_owned()], &args).await?;
        let [schema, made_shards, made_test_clock] = &made[..] else { return Err(Reply(made).unexpected()) };
        match schema.as_str() {
            SCHEMA => {}
            FILLING => return Err(half_filled()),
            _ => {
                return Err(LedgerError::Schema(format!(
                    "it has schema {schema:?}, this program knows {SCHEMA}"
                )));
            }
        }
        created_with("shards", made_shards, &shards)?;
        created_with("test_clock", made_test_clock, &test_clock)
    }

    pub(super) async fn set_schema(&self, schema: &str) -> Result<(), LedgerError> {
        let mut set = cmd("HSET");
        set.arg(names::SCHEMA).arg("schema").arg(schema);
        self.functions.durably(&set).await.map(drop)
    }
}
