//! The function library's text, and its name on a server: the schema it is for and the digest of what is in it. So two
//! builds with different functions never replace each other's, whichever starts last, and both go on side by side.

use std::sync::LazyLock;

use ::redis::{Cmd, cmd};
use cocoon_receipts::Digest;

/// The name in the sources, of the library and before each of its functions.
const PLAIN_NAME: &str = "cocoon2";
/// Bytes of the digest that are in the name.
const MARK: usize = 4;

/// The sources: parts in the order in which they need each other.
const SOURCES: &str = concat!(
    include_str!("functions/books.lua"),
    include_str!("functions/limits.lua"),
    include_str!("functions/create.lua"),
    include_str!("functions/usages.lua"),
    include_str!("functions/requests.lua"),
    include_str!("functions/holds.lua"),
    include_str!("functions/settle.lua"),
    include_str!("functions/endings.lua"),
    include_str!("functions/booking.lua"),
    include_str!("functions/answers.lua"),
    include_str!("functions/withdrawals.lua"),
    include_str!("functions/treasury.lua"),
    include_str!("functions/channels.lua"),
    include_str!("functions/key_registry.lua"),
    include_str!("functions/retention.lua"),
    include_str!("functions/transfer.lua"),
);

static NAME: LazyLock<String> = LazyLock::new(|| name_for(SOURCES));
static TEXT: LazyLock<String> = LazyLock::new(|| SOURCES.replace(PLAIN_NAME, &NAME));

/// The library as a server is given it.
pub(super) fn text() -> &'static str {
    &TEXT
}

/// Gives it to a server.
pub(super) fn load_command() -> Cmd {
    let mut load = cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(text());
    load
}

/// The name on a server of the function that the sources call `function`.
pub(super) fn name_of(function: &str) -> String {
    function.replacen(PLAIN_NAME, &NAME, 1)
}

fn name_for(sources: &str) -> String {
    let digest = Digest::of(&[sources.as_bytes()]).to_string();
    format!("{PLAIN_NAME}_{}", &digest[..2 * MARK])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_changes_in_it_changes_every_name() {
        assert!(text().starts_with(&format!("#!lua name={}\n", *NAME)), "{}", *NAME);
        let reserve = name_of("cocoon2_reserve");
        assert_eq!(reserve, format!("{}_reserve", *NAME));
        assert!(text().contains(&format!("redis.register_function('{reserve}',")));
        assert!(!text().contains("'cocoon2_reserve'"));
        assert_ne!(name_for(SOURCES), name_for(&SOURCES.replacen("held", "hold", 1)));
    }
}
