//! Fetching a model from a hub that is not trusted: what is in the cache afterwards is what the hub declared,
//! byte for byte, or nothing is.
//!
//! hf-hub gives the cache its conventions; the transfer is ours, because what a hub says in a header must
//! never reach a path. The environment (`HF_HOME`, `HF_TOKEN` ...) is read by the caller.

mod cache;
mod listing;
mod transfer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use verbatim_store::Progress;

use self::cache::RepoCache;
use self::listing::{Listing, RemoteFile, check_repo, check_revision, is_commit};
use self::transfer::Client;
use crate::checkpoint::{CONFIG, INDEX, MAX_INDEX_BYTES, ShardIndex, TOKENIZER, WEIGHTS};
use crate::error::{Error, Result};
use crate::precheck::refuse_pickle_name;

/// The longest list of files that is read, in bytes.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// A hub token; its text is shown nowhere.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes the text of a token, white space around it removed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where characters cannot be part of a token; the text is not repeated.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::InvalidArgument(
                "the hub token is empty or has characters that no token has".to_owned(),
            ));
        }
        Ok(Self(text.to_owned()))
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

/// Brings one revision of a model into the cache, or finds it there, and checks every byte of it.
///
/// The revision is resolved to a commit once; every file is of that commit. A commit that is in the cache
/// whole needs no hub. Only the configuration, the tokenizer and safetensors weights are fetched.
///
/// # Errors
/// [`Error::InvalidArgument`] for a name that cannot be one, [`Error::Unreachable`] when the hub does not
/// answer after all retries, or is not to be asked and the cache has nothing, [`Error::NotOnHub`], [`Error::Untrusted`] when it sends something else than it
/// declares, [`Error::Refused`] when it has pickled weights only, [`Error::BadFile`] when off
/// line and a cached file is not what its name says, [`Error::Cache`] when the cache cannot be written.
pub fn fetch(config: &HubConfig, repo: &str, revision: &str, progress: &dyn Progress) -> Result<Snapshot> {
    check_repo(repo)?;
    check_revision(revision)?;
    let cache = RepoCache::new(&config.cache_dir, repo);
    if config.offline || is_commit(revision) {
        match cached(&cache, repo, revision, progress) {
            Err(Error::Missing { .. } | Error::BadFile { .. }) if !config.offline => {}
            Err(Error::Missing { .. }) => {
                let cause = format!("not in the model cache at `{revision}`; fetch it on line first");
                return Err(Error::Unreachable { url: repo.to_owned(), cause });
            }
            other => return other,
        }
    }
    let client = Client::new(config, progress)?;
    let listing = list(&client, repo, revision)?;
    let snapshot =
        Snapshot { dir: cache.snapshot_dir(repo, &listing.commit), commit: listing.commit.clone() };
    cache.prepare(&snapshot.dir)?;
    let download = Download { client, cache, listing, repo };
    let files = download.needed(config.max_download_bytes, progress)?;
    progress.stage("download", Some(files.iter().map(|file| file.n_bytes).sum()), "bytes");
    for file in &files {
        download.bring(file, progress)?;
    }
    // Names come last, so that none ever stands for what is not there.
    for file in &files {
        download.cache.link(&snapshot.dir, file)?;
    }
    if !is_commit(revision) {
        download.cache.note(revision, &snapshot.commit)?;
    }
    Ok(snapshot)
}

/// The revision as it is in the cache, every file checked.
fn cached(cache: &RepoCache, repo: &str, revision: &str, progress: &dyn Progress) -> Result<Snapshot> {
    let commit = if is_commit(revision) { revision.to_owned() } else { cache.commit_of(revision)? };
    let dir = cache.snapshot_dir(repo, &commit);
    cache.check_snapshot(&dir, progress)?;
    Ok(Snapshot { dir, commit })
}

/// Asks the hub, once, which commit the revision is and which files it has.
fn list(client: &Client<'_>, repo: &str, revision: &str) -> Result<Listing> {
    // A slash in a revision is part of its name, not of the path.
    let url = client.url(&format!("api/models/{repo}/revision/{}?blobs=true", revision.replace('/', "%2F")));
    let listing = Listing::parse(&client.get(&url, MAX_LISTING_BYTES)?)
        .map_err(|cause| Error::Untrusted { url: url.clone(), cause })?;
    if is_commit(revision) && listing.commit != revision {
        let cause = format!("answers for commit {}, asked for was {revision}", listing.commit);
        return Err(Error::Untrusted { url, cause });
    }
    Ok(listing)
}

/// One commit of one model on its way into the cache.
struct Download<'a> {
    client: Client<'a>,
    cache: RepoCache,
    listing: Listing,
    repo: &'a str,
}

impl Download<'_> {
    fn url(&self, name: &str) -> String {
        self.client.url(&format!("{}/resolve/{}/{name}", self.repo, self.listing.commit))
    }

    /// The files that a checkpoint needs; an index of shards is fetched on the way, to know the shards.
    fn needed(&self, max_bytes: Option<u64>, progress: &dyn Progress) -> Result<Vec<RemoteFile>> {
        let mut files = vec![self.declared(CONFIG)?, self.declared(TOKENIZER)?];
        if self.listing.has(WEIGHTS) {
            files.push(self.declared(WEIGHTS)?);
        } else if self.listing.has(INDEX) {
            let index = self.declared(INDEX)?;
            let untrusted = |cause| Error::Untrusted { url: self.url(INDEX), cause };
            if index.n_bytes > MAX_INDEX_BYTES {
                return Err(untrusted(format!(
                    "{} bytes, at most {MAX_INDEX_BYTES} are read",
                    index.n_bytes
                )));
            }
            self.bring(&index, progress)?;
            let shards = ShardIndex::parse(&self.cache.read(&index, MAX_INDEX_BYTES)?).map_err(untrusted)?;
            files.push(index);
            for shard in shards.shards() {
                refuse_pickle_name(Path::new(shard))?;
                files.push(self.declared(shard)?);
            }
        } else {
            self.listing.names().try_for_each(|name| refuse_pickle_name(Path::new(name)))?;
            let cause = format!("neither {WEIGHTS} nor {INDEX}");
            return Err(Error::NotOnHub { url: self.client.url(self.repo), cause });
        }
        let n_bytes = files.iter().map(|file| file.n_bytes).fold(0, u64::saturating_add);
        match max_bytes {
            Some(max_bytes) if n_bytes > max_bytes => Err(Error::InvalidArgument(format!(
                "`{}` has {n_bytes} bytes, more than the {max_bytes} allowed",
                self.repo
            ))),
            _ => Ok(files),
        }
    }

    /// What the hub declares of a file that must be there.
    fn declared(&self, name: &str) -> Result<RemoteFile> {
        if !self.listing.has(name) {
            return Err(Error::NotOnHub {
                url: self.url(name),
                cause: "the model has no such file".to_owned(),
            });
        }
        self.listing.file(name).ok_or_else(|| Error::Untrusted {
            url: self.url(name),
            cause: "the hub declares no size and hash, so that nothing could be checked".to_owned(),
        })
    }

    /// Makes sure that a file is in the cache and is what the hub declares.
    fn bring(&self, file: &RemoteFile, progress: &dyn Progress) -> Result<()> {
        if self.cache.has(file, progress)? {
            progress.advance(file.n_bytes);
            return Ok(());
        }
        let url = self.url(&file.name);
        let mut high_water = 0;
        self.client.with_retries(|| {
            // Dropped on failure, which removes what had arrived.
            let mut blob = self.cache.start(file)?;
            self.client.download(&url, file, &mut blob, &mut high_water)?;
            Ok(blob.finish().map_err(Error::from)?)
        })
    }
}
