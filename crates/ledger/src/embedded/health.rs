use super::Embedded;
use crate::Health;

impl Health for Embedded {
    fn is_up(&self) -> bool {
        self.writer.is_up()
    }
}
