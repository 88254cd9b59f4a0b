use super::RedisLedger;
use crate::Standing;

impl Standing for RedisLedger {
    fn is_up(&self) -> bool {
        self.functions.link().is_up()
    }
}
