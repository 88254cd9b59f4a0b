use super::RedisLedger;
use crate::Health;

impl Health for RedisLedger {
    fn is_up(&self) -> bool {
        self.functions.link().is_up()
    }
}
