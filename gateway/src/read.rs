//! Step 3: the few members that routing and admission need, read as the sidecar reads them.

pub use cocoon_openapi::read::{Tokens, Wanted, read};
