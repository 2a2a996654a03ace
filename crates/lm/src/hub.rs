//! Fetching a model from a hub that is not trusted.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use verbatim_store::Progress;

use crate::error::Result;

/// A hub token; its text is shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes the text of a token, white space around it removed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where the hub is, where its files are kept, and how patient we are.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The hub's address; `https`, or `http` on a loopback host.
    pub endpoint: String,
    /// The folder of the cache (`HF_HUB_CACHE`, `HF_HOME/hub`).
    pub cache_dir: PathBuf,
    /// Sent to the endpoint's host only.
    pub token: Option<Token>,
    /// Whether only the cache is used.
    pub offline: bool,
    /// The longest wait for a connection, an answer, or the next bytes of a body.
    pub timeout: Duration,
    /// How often a failed transfer is tried again.
    pub max_retries: u32,
    /// The wait before the first retry; it doubles each time.
    pub retry_wait: Duration,
    /// The most bytes that one model may have.
    pub max_download_bytes: Option<u64>,
}

impl HubConfig {
    /// huggingface.co, no token, on line, 30 seconds, 5 retries from half a second on, no limit of size.
    #[must_use]
    pub fn standard(cache_dir: PathBuf) -> Self {
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            cache_dir,
            token: None,
            offline: false,
            timeout: Duration::from_secs(30),
            max_retries: 5,
            retry_wait: Duration::from_millis(500),
            max_download_bytes: None,
        }
    }
}

/// One commit of a model, on this machine, every file checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder, in the layout that [`crate::Checkpoint::open`] reads.
    pub dir: PathBuf,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
}

/// Brings one revision of a model into the cache.
///
/// # Errors
/// See [`crate::Error`].
pub fn fetch(config: &HubConfig, repo: &str, revision: &str, _progress: &dyn Progress) -> Result<Snapshot> {
    todo!("{config:?} {repo} {revision}")
}
