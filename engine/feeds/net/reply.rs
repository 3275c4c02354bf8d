//! Replies to HTTP requests: whole, or as the failure that they stand for.

use std::time::Duration;

use reqwest::Response;
use tickwire_schemas::words::Cause;

use super::{Failure, causes, excerpt};

/// Most of a reply to a request that is read: tokens and error texts.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// A short reply, whole.
#[derive(Debug)]
pub struct Reply {
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads a reply of at most 64 KiB; the rest is left.
    ///
    /// # Errors
    /// [`Cause::ReadError`].
    pub async fn read(response: Response) -> Result<Reply, Failure> {
        Reply::read_most(response, REPLY_BYTES_MAX).await
    }

    /// Reads a reply of at most `bytes_max`; the rest is left.
    ///
    /// # Errors
    /// [`Cause::ReadError`].
    pub async fn read_most(mut response: Response, bytes_max: usize) -> Result<Reply, Failure> {
        let mut body = Vec::new();
        while body.len() < bytes_max {
            let chunk = response.chunk().await.map_err(|e| Failure::new(Cause::ReadError, causes(&e.without_url())))?;
            let Some(chunk) = chunk else { break };
            body.extend_from_slice(&chunk[..chunk.len().min(bytes_max - body.len())]);
        }
        Ok(Reply { body })
    }

    /// The body as words.
    #[must_use]
    pub fn excerpt(&self) -> String {
        excerpt(&self.body)
    }
}

/// The failure that a reply other than success stands for, in the words that `words` finds in its body.
pub async fn refused(response: Response, words: impl Fn(&[u8]) -> Option<String>) -> Failure {
    let status = response.status();
    let retry_after = retry_after(response.headers().get("retry-after").map(|v| v.as_bytes()));
    let body = Reply::read(response).await.map(|r| r.body).unwrap_or_default();
    let said = words(&body).unwrap_or_else(|| excerpt(&body));
    let text = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    Failure { cause: cause_of_status(status.as_u16()), text, retry_after }
}

pub(super) fn cause_of_status(status: u16) -> Cause {
    match status {
        401 | 403 => Cause::LoginRefused,
        // 418 is what Binance answers to those who went on after 429.
        418 | 429 => Cause::RateLimited,
        400..=499 => Cause::ProtocolError,
        _ => Cause::ConnectFailed,
    }
}

/// `Retry-After` in seconds; the form with a date is not used by any venue here. At most three days: the longest ban.
pub(super) fn retry_after(value: Option<&[u8]>) -> Option<Duration> {
    let seconds: u64 = std::str::from_utf8(value?).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3 * 86_400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_bounded() {
        assert_eq!(retry_after(Some(b"7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(Some(b"99999999999")), Some(Duration::from_secs(259_200)));
        assert_eq!(retry_after(Some(b"Wed, 21 Oct 2015 07:28:00 GMT")), None);
    }
}
