//! What `up` prints once everything works: lines to paste.

use std::path::Path;
use std::time::Duration;

use crate::console::seconds;
use crate::up_env::UpEnv;

/// `given_dir` is what the user said with `--dir`, for the line that ends it.
pub(crate) fn greet(env: &UpEnv, dir: &Path, given_dir: Option<&Path>, detached: bool, took: Duration) {
    let request = format!(
        r#"{{"model": "{}", "messages": [{{"role": "user", "content": "Say hello."}}], "temperature": 0}}"#,
        env.model
    );
    println!("\nCocoon Gateway is up: {}  ({}, after {})\n", env.base_url(), env.model, seconds(took));
    println!("  set -a; . {}; set +a", shell_quoted(&dir.join("up.env")));
    println!(
        "  curl -s \"$OPENAI_BASE_URL/chat/completions\" -H \"Authorization: Bearer $OPENAI_API_KEY\" \
         -H 'Content-Type: application/json' -d '{request}'"
    );
    println!(
        "  python3 -c 'import os; from openai import OpenAI; print(OpenAI().chat.completions.create(\
         model=os.environ[\"COCOON_MODEL\"], messages=[{{\"role\": \"user\", \"content\": \"Say hello.\"}}], temperature=0)\
         .choices[0].message.content)'"
    );
    println!(
        "\nSealed here, so that the gateway cannot read it: the same at {url}/v1 (what was verified: {url}/verification)",
        url = env.connect_url()
    );
    println!(
        "\nWhat it cost, and keys: {}  (log in with OPENAI_API_KEY or COCOON_ADMIN_KEY)",
        env.dashboard_url()
    );
    println!(
        "\nMoney here is of a local TON chain and worth nothing: {}  (faucet and more: docs/DEVNET.md)",
        env.chain_url()
    );
    println!(
        "\nAttestation here is for development: this machine vouches for itself, which proves nothing to others."
    );
    println!("Logs: {}", dir.join("logs").display());
    let dir = given_dir.map(|dir| format!(" --dir {}", shell_quoted(dir))).unwrap_or_default();
    if detached {
        println!("End it with: cargo xtask down{dir}");
    } else {
        println!("End it with Ctrl-C, or from another terminal: cargo xtask down{dir}\n");
    }
}

fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_blank_is_quoted_for_the_shell() {
        assert_eq!(shell_quoted(Path::new("/a/.cocoon/up.env")), "/a/.cocoon/up.env");
        assert_eq!(shell_quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
