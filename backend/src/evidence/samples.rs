//! Real evidence that the crates for verifying it ship, and servers that hand it out. It binds none of our keys.

use axum::Router;
use cocoon_synthetic_tee::samples::of_crate;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A Milan report, as the firmware made it.
pub(super) fn milan_report() -> Vec<u8> {
    let text = String::from_utf8(of_crate("sev", "tests/certs_data/report_milan.hex")).unwrap();
    hex::decode(text.trim()).unwrap()
}

/// The certificate of that chip.
pub(super) fn milan_vcek() -> Vec<u8> {
    of_crate("sev", "tests/certs_data/vcek_milan.der")
}

/// The host's table of certificates with these entries.
pub(super) fn table(entries: &[(u128, &[u8])]) -> Vec<u8> {
    let (mut head, mut content) = (Vec::new(), Vec::new());
    let begin = 24 * (entries.len() + 1);
    for (kind, bytes) in entries {
        head.extend_from_slice(&kind.to_be_bytes());
        for number in [begin + content.len(), bytes.len()] {
            head.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
        }
        content.extend_from_slice(bytes);
    }
    head.resize(begin, 0);
    [head, content].concat()
}

/// Serves until the set is dropped; gives the base URL.
pub(super) async fn serve(router: Router) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, tasks)
}
