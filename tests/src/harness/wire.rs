//! One connection at a time, of a chosen protocol: what a pooled client hides.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// With prior knowledge, or chosen by ALPN under TLS.
    Http2,
}

enum Sender {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

/// Ends when dropped.
pub(crate) struct Connection {
    sender: Sender,
    tasks: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn plain(to: SocketAddr, protocol: Protocol) -> anyhow::Result<Self> {
        Self::over(TcpStream::connect(to).await?, protocol).await
    }

    /// Trusts exactly `certificate`, which must be for `localhost`.
    pub(crate) async fn tls(
        to: SocketAddr,
        protocol: Protocol,
        certificate: CertificateDer<'static>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name: &[u8] = if protocol == Protocol::Http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![name.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream =
            connector.connect(ServerName::try_from("localhost")?, TcpStream::connect(to).await?).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(name), "ALPN chose another protocol");
        Self::over(stream, protocol).await
    }

    async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> anyhow::Result<Self> {
        let (io, mut tasks) = (TokioIo::new(io), JoinSet::new());
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
                // How it ends shows in the answer that is being read.
                tasks.spawn(async move { drop(connection.await) });
                Sender::One(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
                tasks.spawn(async move { drop(connection.await) });
                Sender::Two(sender)
            }
        };
        Ok(Self { sender, tasks })
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        ensure!(!self.tasks.is_empty(), "the connection has no task");
        match &mut self.sender {
            Sender::One(sender) => {
                // The answer before may have been read while its connection has yet to see the end.
                sender.ready().await.context("HTTP/1.1 connection")?;
                sender.send_request(request).await.context("HTTP/1.1")
            }
            Sender::Two(sender) => sender.send_request(request).await.context("HTTP/2"),
        }
    }
}
