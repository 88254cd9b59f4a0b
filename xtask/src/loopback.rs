//! One HTTP request to a server on this machine: enough to see that a completion works.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::interrupt;

const REPLY_LIMIT: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// POSTs JSON. Asked as HTTP/1.0, so that the body ends with the connection and is never chunked.
///
/// # Errors
/// No connection, no whole reply within `limit`, or [`interrupt::Interrupted`].
pub(crate) fn post(
    port: u16,
    path: &str,
    bearer: &str,
    json: &str,
    limit: Duration,
) -> anyhow::Result<Reply> {
    let since = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))
        .with_context(|| format!("no connection to {address}"))?;
    // Short, so that Ctrl-C is seen while a slow model answers.
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
        json.len()
    )?;
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        interrupt::check()?;
        match stream.read(&mut buffer) {
            Ok(0) => return parse(&reply),
            Ok(read) => reply.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the connection broke"),
        }
        if since.elapsed() > limit {
            bail!("no whole answer after {} s", limit.as_secs());
        }
        if reply.len() > REPLY_LIMIT {
            bail!("an answer of more than {REPLY_LIMIT} bytes");
        }
    }
}

fn parse(reply: &[u8]) -> anyhow::Result<Reply> {
    let text = String::from_utf8_lossy(reply);
    let (head, body) = text.split_once("\r\n\r\n").context("not a whole HTTP reply")?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok(Reply { status: status.context("not an HTTP reply")?, body: body.to_owned() })
}

/// Whether a server could listen on this port of loopback.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_and_its_reply_read_to_the_end() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = String::new();
            let mut buffer = [0; 1024];
            while !seen.ends_with("{\"a\":1}") {
                let read = stream.read(&mut buffer).unwrap();
                seen.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            stream.write_all(b"HTTP/1.0 402 Payment Required\r\nx: y\r\n\r\n{\"err").unwrap();
            stream.write_all(b"or\":1}").unwrap();
            seen
        });
        let reply = post(port, "/v1/x", "sk", "{\"a\":1}", Duration::from_secs(5)).unwrap();
        assert_eq!(reply, Reply { status: 402, body: "{\"error\":1}".into() });
        let seen = server.join().unwrap();
        assert!(seen.starts_with("POST /v1/x HTTP/1.0\r\n"), "{seen}");
        assert!(seen.contains("authorization: Bearer sk\r\n"), "{seen}");
    }

    #[test]
    fn half_a_reply_is_an_error() {
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
