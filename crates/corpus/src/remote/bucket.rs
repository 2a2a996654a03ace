//! Connections to buckets, and what an input's URL names in them: an object, a folder or a pattern.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use url::Url;
use verbatim_store::Progress;

use super::Found;
use super::failure::failure;
use crate::document::printable;
use crate::error::{Error, Result};
use crate::schema::{ObjectStoreOptions, OpenConfig};

/// Between two looks at whether the run was interrupted.
const NAP: Duration = Duration::from_millis(50);
/// How long a store may take to be connected to, and to send something.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often one request is tried again, and for how long: short, for where credentials are asked for on a network
/// that answers nothing.
const MAX_RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The buckets that inputs stand in, each with one client.
pub(crate) struct Buckets<'a> {
    config: &'a OpenConfig,
    progress: &'a dyn Progress,
    opened: Vec<Arc<Bucket>>,
}

/// One bucket, or container.
pub(super) struct Bucket {
    /// The URL without a key, such as `s3://bucket`.
    pub(super) root: String,
    pub(super) store: Box<dyn ObjectStore>,
    runtime: Runtime,
}

/// An object as it was when it was listed.
#[derive(Debug)]
pub(crate) struct Object {
    pub(super) bucket: Arc<Bucket>,
    pub(super) meta: ObjectMeta,
}

impl<'a> Buckets<'a> {
    pub(crate) fn new(config: &'a OpenConfig, progress: &'a dyn Progress) -> Self {
        Buckets { config, progress, opened: Vec::new() }
    }

    /// What an input names: an object; else all objects below it; else what it matches as a pattern.
    ///
    /// # Errors
    /// A URL that is none, nothing there, and whatever keeps the store from answering.
    pub(crate) fn find(&mut self, input: &Path) -> Result<Vec<Found>> {
        let (bucket, key) = self.of(input)?;
        bucket.find(key, self.progress)
    }

    /// The bucket of a URL, and the key in it.
    pub(super) fn of<'u>(&mut self, url: &'u Path) -> Result<(Arc<Bucket>, &'u str)> {
        let (root, key) = split(url)?;
        Ok((self.open(root)?, key))
    }

    pub(super) fn open(&mut self, root: &str) -> Result<Arc<Bucket>> {
        if let Some(bucket) = self.opened.iter().find(|bucket| bucket.root == root) {
            return Ok(Arc::clone(bucket));
        }
        let bucket = Arc::new(Bucket::new(root, connect(root, &self.config.object_stores)?)?);
        self.opened.push(Arc::clone(&bucket));
        Ok(bucket)
    }
}

/// The URL's bucket and key. A key is taken as it stands: it has no query, and nothing in it is decoded.
fn split(input: &Path) -> Result<(&str, &str)> {
    let wrong = |cause: &str| Error::ObjectUrl { url: printable(input), cause: cause.to_owned() };
    let text = input.to_str().ok_or_else(|| wrong("not UTF-8"))?;
    let bucket_at = text.find("://").map_or(0, |at| at + "://".len());
    let (bucket, key) = text[bucket_at..].split_once('/').unwrap_or((&text[bucket_at..], ""));
    if bucket.is_empty() {
        return Err(wrong("no bucket"));
    }
    if bucket.contains(':') {
        return Err(wrong("a port or password does not belong there"));
    }
    Ok((&text[..bucket_at + bucket.len()], key))
}

/// A client for the bucket. Options that this kind of store does not know are for another one.
fn connect(root: &str, options: &ObjectStoreOptions) -> Result<Box<dyn ObjectStore>> {
    let wrong = |cause: String| Error::ObjectUrl { url: printable(root), cause };
    let url: Url = root.parse().map_err(|e| wrong(format!("{e}")))?;
    let (scheme, _) = ObjectStoreScheme::parse(&url).map_err(|e| wrong(e.to_string()))?;
    // It fails where the program has named a provider already, which will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    macro_rules! client {
        ($builder:ident) => {{
            let builder =
                $builder::new().with_url(root).with_client_options(patience()).with_retry(retries());
            let known =
                |builder: $builder, (key, value): &(String, String)| match key.to_ascii_lowercase().parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                };
            let client = options.0.iter().fold(builder, known).build();
            client.map(|client| Box::new(client) as Box<dyn ObjectStore>)
        }};
    }
    let client = match scheme {
        ObjectStoreScheme::AmazonS3 => client!(AmazonS3Builder),
        ObjectStoreScheme::GoogleCloudStorage => client!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => client!(MicrosoftAzureBuilder),
        _ => return Err(wrong("no object store that is known here".to_owned())),
    };
    client.map_err(|e| failure(root, &e))
}

/// Time limits on every wait, but none on a whole download.
fn patience() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
}

fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(5),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT }
}

impl Bucket {
    pub(super) fn new(root: &str, store: Box<dyn ObjectStore>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| verbatim_store::Error::io(Path::new(root), "prepare to read", e))?;
        Ok(Bucket { root: root.to_owned(), store, runtime })
    }

    /// Waits for an answer, unless the run is to stop.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>, progress: &dyn Progress) -> Result<T> {
        self.runtime.block_on(async {
            let mut answer = pin!(answer);
            loop {
                if let Ok(answer) = timeout(NAP, answer.as_mut()).await {
                    return Ok(answer);
                }
                if progress.interrupted() {
                    return Err(Error::Interrupted);
                }
            }
        })
    }

    pub(super) fn url(&self, key: &str) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.root))
    }

    /// A key as it stands in a URL.
    pub(super) fn parsed(&self, key: &str) -> Result<Key> {
        Key::parse(key).map_err(|e| Error::ObjectUrl { url: printable(self.url(key)), cause: e.to_string() })
    }

    pub(super) fn find(self: Arc<Self>, key: &str, progress: &dyn Progress) -> Result<Vec<Found>> {
        let url = printable(self.url(key));
        let prefix = self.parsed(key)?;
        if !key.is_empty() && !key.ends_with('/') {
            match self.wait(self.store.head(&prefix), progress)? {
                // An empty one can be the marker of a folder.
                Ok(meta) if meta.size > 0 || self.list(&prefix, progress)?.is_empty() => {
                    return Ok(vec![Found::Object(Object { bucket: self, meta })]);
                }
                Ok(_) => {}
                Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(failure(&url, &e)),
            }
        }
        let objects = self.list(&prefix, progress)?;
        if !objects.is_empty() || key.is_empty() {
            return Ok(vec![self.folder(prefix.as_ref(), objects)]);
        }
        let found = if is_pattern(key) { self.matches(key, progress)? } else { Vec::new() };
        if found.is_empty() { Err(Error::NoInput { pattern: url }) } else { Ok(found) }
    }

    /// All objects below a prefix, by bytes of the key.
    pub(super) fn list(&self, prefix: &Key, progress: &dyn Progress) -> Result<Vec<ObjectMeta>> {
        let listed = self.wait(self.store.list(Some(prefix)).try_collect::<Vec<_>>(), progress)?;
        let mut objects = listed.map_err(|e| failure(&printable(self.url(prefix.as_ref())), &e))?;
        // An object named as the folder is its marker; one that is not below it, a server's mistake.
        objects.retain(|object| object.location.prefix_matches(prefix) && object.location != *prefix);
        objects.sort_by(|a, b| a.location.as_ref().cmp(b.location.as_ref()));
        Ok(objects)
    }

    fn folder(self: &Arc<Self>, prefix: &str, objects: Vec<ObjectMeta>) -> Found {
        let named = |meta: ObjectMeta| {
            let name = meta.location.as_ref()[prefix.len()..].trim_start_matches('/').into();
            (name, Object { bucket: Arc::clone(self), meta })
        };
        Found::Folder { url: self.url(prefix), objects: objects.into_iter().map(named).collect() }
    }

    /// The objects and folders that a pattern matches; it is matched as one of paths: `*` stays within a name.
    fn matches(self: &Arc<Self>, pattern: &str, progress: &dyn Progress) -> Result<Vec<Found>> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let Ok(compiled) = Pattern::new(pattern.trim_end_matches('/')) else { return Ok(Vec::new()) };
        let fixed = pattern.find(PATTERN_MARKS).map_or(pattern, |at| &pattern[..at]);
        let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
        let prefix = self.parsed(folder)?;
        let mut matched: BTreeMap<String, Vec<ObjectMeta>> = BTreeMap::new();
        for object in self.list(&prefix, progress)? {
            let key = object.location.as_ref();
            let ends = key.match_indices('/').map(|(at, _)| at).chain([key.len()]);
            let first = ends.map(|end| &key[..end]).find(|part| compiled.matches_with(part, options));
            if let Some(part) = first.map(str::to_owned) {
                matched.entry(part).or_default().push(object);
            }
        }
        let found = matched.into_iter().flat_map(|(part, objects)| {
            let (own, below): (Vec<_>, Vec<_>) =
                objects.into_iter().partition(|object| object.location.as_ref() == part);
            let folder = (!below.is_empty()).then(|| self.folder(&part, below));
            let own = own.into_iter().map(|meta| Found::Object(Object { bucket: Arc::clone(self), meta }));
            own.chain(folder).collect::<Vec<_>>()
        });
        Ok(found.collect())
    }
}

const PATTERN_MARKS: [char; 3] = ['*', '?', '['];

fn is_pattern(key: &str) -> bool {
    key.contains(PATTERN_MARKS)
}

impl fmt::Debug for Bucket {
    /// Without the client, which knows secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("root", &self.root).finish_non_exhaustive()
    }
}
