//! A request that is answered before all of it was read, over HTTP/1.1: were its connection closed at once, the kernel
//! would answer what is still coming with a reset, and the client would lose the answer (RFC 9112 section 9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio_util::task::TaskTracker;

/// How much is read on, and how long.
const MOST_BYTES: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(2);

/// A body that is read on for a while when nobody wants it any more.
struct Lingering {
    body: Option<Body>,
    /// A body that nobody has begun to read may wait for `100 Continue`, and need not come.
    begun: bool,
    tasks: TaskTracker,
}

/// The request with a body that lingers, in one of `tasks`.
pub(crate) fn linger(request: Request, tasks: &TaskTracker) -> Request {
    request.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Lingering { body: Some(body), begun: false, tasks: tasks.clone() })
    })
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.begun = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| self.begun && !body.is_end_stream()) else {
            return;
        };
        self.tasks.spawn(async move {
            let mut left = MOST_BYTES;
            let rest = async {
                while let Some(Ok(frame)) = body.frame().await {
                    let Some(less) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
                    left = less;
                }
            };
            // Who has not sent it by then loses the answer.
            let _ = tokio::time::timeout(LONGEST, rest).await;
        });
    }
}
