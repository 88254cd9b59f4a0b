use super::Embedded;
use crate::Standing;

impl Standing for Embedded {
    fn is_up(&self) -> bool {
        self.writer.is_up()
    }
}
