//! `cocoon-gateway backends`: asks the running gateway how its backends stand, and says so on one screen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cocoon_openapi::BACKENDS_PATH;
use cocoon_openapi::ops::{BackendView, Backends};
use http::Request;
use http_body_util::{BodyExt, Limited};

use crate::config::Config;
use crate::hop::{self, HopBody};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read: a thousand backends with fifty findings each.
const MAX_ANSWER: usize = 32 << 20;

/// What the gateway of `config`, which must be running, says of its backends: its JSON, and the same parsed.
///
/// # Errors
/// Where it does not answer.
pub async fn ask(config: &Config) -> anyhow::Result<(String, Backends)> {
    let address = reachable(config.ops_listen)?;
    let request = Request::get(format!("http://{address}{BACKENDS_PATH}")).body(HopBody::default())?;
    let asking = async {
        let response = hop::http_client().request(request).await?;
        let status = response.status();
        ensure!(status.is_success(), "the gateway answered status {}", status.as_u16());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
        let text = String::from_utf8(body.to_vec()).context("the answer is not text")?;
        let backends = serde_json::from_str(&text).context("the answer is another version's")?;
        Ok((text, backends))
    };
    let asked = tokio::time::timeout(TIMEOUT, asking).await.context("the gateway does not answer")?;
    asked.with_context(|| format!("ops_listen: {address}"))
}

/// Whether every backend is verified, and used.
#[must_use]
pub fn all_verified(backends: &Backends) -> bool {
    backends.backends.iter().all(|backend| backend.verdict == "verified" && backend.in_use)
}

/// The address to reach a listener at.
fn reachable(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    if listen.port() == 0 {
        bail!("ops_listen: port 0 does not say where the gateway listens");
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

/// One screen for people: a line for each backend, and why where it is not good. `now_ms`: milliseconds since 1970.
#[must_use]
pub fn screen(backends: &Backends, now_ms: u64) -> String {
    let policy = &backends.policy;
    let name = policy.name.as_deref().unwrap_or("without a name");
    let version = policy.version.map_or_else(String::new, |version| format!(", version {version}"));
    let mut lines = vec![format!("policy {name}{version}, digest {}", policy.digest)];
    for backend in &backends.backends {
        lines.extend(of_one(backend, now_ms));
    }
    let verified = backends.backends.iter().filter(|backend| backend.verdict == "verified").count();
    lines.push(format!("{verified} of {} verified", backends.backends.len()));
    // Whatever a backend calls itself must not move the cursor.
    let printable = |line: String| -> String {
        line.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
    };
    lines.into_iter().map(printable).collect::<Vec<_>>().join("\n")
}

fn of_one(backend: &BackendView, now_ms: u64) -> Vec<String> {
    let ago = |at: u64| spoken(now_ms.saturating_sub(at));
    let left = |at: u64| spoken(at.saturating_sub(now_ms));
    let used = if backend.in_use { "in use" } else { "NOT USED" };
    let mut first = format!(
        "{}  {}, {used}, {} in flight",
        backend.backend,
        backend.verdict.to_uppercase(),
        backend.in_flight
    );
    if let Some(since) = backend.since {
        first += &format!(", so since {}", ago(since));
    }
    let mut lines = vec![first];
    if let Some(reason) = &backend.reason {
        let check = backend.check.as_ref().map_or_else(String::new, |check| format!("[{check}] "));
        lines.push(format!("    {check}{reason}"));
        let unproven = backend.findings.iter().filter(|finding| finding.outcome == "failed").skip(1);
        lines.extend(unproven.map(|finding| format!("    [{}] {}", finding.check, finding.detail)));
    }
    if let Some(last) = &backend.last_verified {
        lines.push(format!("    {} on {}, release {}", last.model, last.tee, last.release));
        lines.push(format!("    keyset {}", last.keyset));
        let runs_out = match backend.in_use {
            true => format!(", good for {} more", left(last.valid_until)),
            false => String::new(),
        };
        lines.push(format!("    last verified {} ago{runs_out}", ago(last.verified_at)));
    }
    if let (Some(at), Some(took)) = (backend.checked_at, backend.took_us) {
        let took = Duration::from_micros(took);
        lines.push(format!("    last checked {} ago, which took {took:.1?}", ago(at)));
    }
    lines
}

/// A length of time, to be read.
fn spoken(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use cocoon_attestation::{Check, Findings, Policy, Refusal};

    use super::*;
    use crate::attest::AttestError;
    use crate::backends::view;
    use crate::clock::now_ms;
    use crate::route::tests::{checked, fleet};

    #[test]
    fn a_screen_says_what_is_wrong_and_cannot_be_written_over() {
        let fleet = fleet(&[Some(("m\u{1b}[2J", 1)), Some(("m", 1))]);
        let policy = Policy::from_toml("name = 'ours'\nversion = 2").unwrap();
        let good = view(&fleet, &policy);
        assert!(all_verified(&good));
        let mut findings = Findings::default();
        findings.failed(Check::Quote, "not signed");
        findings.failed(Check::Model, "other weights");
        fleet.backends()[1].record(checked(Err(AttestError::Refused(Refusal { findings }))));
        let bad = view(&fleet, &policy);
        assert!(!all_verified(&bad));
        let screen = screen(&bad, now_ms());
        for part in [
            "policy ours, version 2, digest ",
            "127.0.0.1:0  VERIFIED, in use",
            "m\u{fffd}[2J on dev",
            "127.0.0.1:1  REFUSED, NOT USED",
            "[quote] refused by the policy: quote: not signed (and 1 more)",
            "[model] other weights",
            "1 of 2 verified",
        ] {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
        assert!(!screen.chars().any(|char| char.is_control() && char != '\n'), "{screen:?}");
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(asked("0.0.0.0:81").unwrap(), "127.0.0.1:81");
        assert_eq!(asked("[::]:81").unwrap(), "[::1]:81");
        assert_eq!(asked("10.0.0.1:81").unwrap(), "10.0.0.1:81");
        assert!(asked("127.0.0.1:0").unwrap_err().to_string().contains("ops_listen"));
    }
}
