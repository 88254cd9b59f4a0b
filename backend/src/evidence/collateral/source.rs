//! A certificate or a revocation list from a file or a URL.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use cocoon_process::Fetcher;
use tokio::time::Instant;

use super::{CollateralError, FRESH_FOR};
use crate::evidence::sections::read_bounded;

/// Largest file, bytes.
const MAX_FILE: usize = 64 << 10;
/// What was fetched is used while a URL does not answer, but not for ever.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Where to look; what a URL gave is kept.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Url { url: String, kept: RwLock<Option<(Instant, Vec<u8>)>> },
}

impl Source {
    pub(super) fn new(place: &str) -> Self {
        if place.contains("://") {
            Self::Url { url: place.to_owned(), kept: RwLock::default() }
        } else {
            Self::File(PathBuf::from(place))
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Url { url, .. } if url.starts_with("https"))
    }

    /// The bytes, of a file as they are now, of a URL as they were at most [`FRESH_FOR`] ago where it answers.
    pub(super) async fn read(&self, fetcher: &Fetcher) -> Result<Vec<u8>, CollateralError> {
        let (url, kept) = match self {
            Self::File(path) => return Ok(read_bounded(path, MAX_FILE).await?),
            Self::Url { url, kept } => (url, kept),
        };
        let last = kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        match last {
            Some((at, bytes)) if at.elapsed() < FRESH_FOR => Ok(bytes),
            last => match self.fetch(url, fetcher).await {
                Ok(bytes) => Ok(bytes),
                Err(error) => {
                    last.filter(|(at, _)| at.elapsed() < KEPT_FOR).map(|(_, bytes)| bytes).ok_or(error)
                }
            },
        }
    }

    /// Fetches anew what is kept.
    pub(super) async fn refresh(&self, fetcher: &Fetcher) -> Result<(), CollateralError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Url { url, .. } => self.fetch(url, fetcher).await.map(drop),
        }
    }

    async fn fetch(&self, url: &str, fetcher: &Fetcher) -> Result<Vec<u8>, CollateralError> {
        let bytes = fetcher.get(url).await?.body.to_vec();
        if let Self::Url { kept, .. } = self {
            *kept.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), bytes.clone()));
        }
        Ok(bytes)
    }
}
