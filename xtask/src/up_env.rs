//! `.cocoon/up.env`: what a client needs to know, as `KEY=VALUE` lines for shells and programs alike.

use std::fs;
use std::path::Path;

use crate::files;

#[derive(Debug)]
pub(crate) struct UpEnv {
    pub(crate) port: u16,
    pub(crate) ops_port: u16,
    pub(crate) backend_port: u16,
    pub(crate) connect_port: u16,
    pub(crate) chain_port: u16,
    pub(crate) model: String,
    pub(crate) api_key: String,
    pub(crate) admin_key: String,
    pub(crate) operator_key: String,
}

impl UpEnv {
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(crate) fn dashboard_url(&self) -> String {
        format!("http://127.0.0.1:{}/dashboard", self.port)
    }

    pub(crate) fn connect_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.connect_port)
    }

    /// An origin: `/api/v2/jsonRPC` under it is what TON's clients call.
    pub(crate) fn chain_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.chain_port)
    }

    /// No value needs quoting: URLs of loopback, JWTs and a model's public name.
    fn text(&self) -> String {
        [
            ("OPENAI_BASE_URL", self.base_url()),
            ("OPENAI_API_KEY", self.api_key.clone()),
            ("COCOON_MODEL", self.model.clone()),
            ("COCOON_ADMIN_KEY", self.admin_key.clone()),
            ("COCOON_OPERATOR_KEY", self.operator_key.clone()),
            ("COCOON_OPS_URL", format!("http://127.0.0.1:{}", self.ops_port)),
            ("COCOON_BACKEND_URL", format!("http://127.0.0.1:{}", self.backend_port)),
            ("COCOON_CONNECT_URL", self.connect_url()),
            ("COCOON_CHAIN_URL", self.chain_url()),
        ]
        .map(|(name, value)| format!("{name}={value}\n"))
        .concat()
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        files::write_private(path, &self.text())
    }
}

/// The URL that a running deployment wrote down.
pub(crate) fn base_url(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("OPENAI_BASE_URL=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_the_url_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("up.env");
        assert_eq!(base_url(&path), None);
        let env = UpEnv {
            port: 8080,
            ops_port: 8081,
            backend_port: 8090,
            connect_port: 4141,
            chain_port: 8100,
            model: "tiny".into(),
            api_key: "a.b.c".into(),
            admin_key: "d.e.f".into(),
            operator_key: "g.h.i".into(),
        };
        env.write(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "OPENAI_BASE_URL=http://127.0.0.1:8080/v1\nOPENAI_API_KEY=a.b.c\nCOCOON_MODEL=tiny\n\
             COCOON_ADMIN_KEY=d.e.f\nCOCOON_OPERATOR_KEY=g.h.i\nCOCOON_OPS_URL=http://127.0.0.1:8081\n\
             COCOON_BACKEND_URL=http://127.0.0.1:8090\nCOCOON_CONNECT_URL=http://127.0.0.1:4141\n\
             COCOON_CHAIN_URL=http://127.0.0.1:8100\n"
        );
        assert_eq!(base_url(&path).unwrap(), "http://127.0.0.1:8080/v1");
    }
}
