//! Object stores without a network: what URLs name, downloads that are cut, objects that change, and refusals.

use std::env::temp_dir;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result as StoreResult,
};
use verbatim_store::{Existing, Progress, Silent};

use super::Found;
use super::bucket::{Bucket, Buckets, Object};
use super::failure::failure;
use super::upload::Prefix;
use crate::error::{Error, Result};
use crate::schema::{ObjectStoreOptions, OpenConfig};

const KEYS: [&str; 7] = [
    "a/1.jsonl",
    "a/2.jsonl.gz",
    "a/b/3.jsonl",
    "a.jsonl",
    "ab/4.jsonl",
    "odd [x] 100%.jsonl",
    "%41/5.jsonl",
];

fn bucket(keys: &[&str]) -> Arc<Bucket> {
    let bucket = Arc::new(Bucket::new("s3://b", Box::new(InMemory::new())).unwrap());
    keys.iter().for_each(|key| put(&bucket, key, key.as_bytes().to_vec()));
    bucket
}

fn put(bucket: &Bucket, key: &str, bytes: Vec<u8>) {
    let key = Key::parse(key).unwrap();
    bucket.wait(bucket.store.put(&key, bytes.into()), &Silent).unwrap().unwrap();
}

/// The URLs of what is found, folders with what is in them.
fn names(found: Vec<Found>) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let name = |found| match found {
        Found::Object(object) => text(&object.url()),
        Found::Folder { url, objects } => {
            let names: Vec<String> = objects.iter().map(|(name, _)| text(name)).collect();
            format!("{}: {}", text(&url), names.join(" "))
        }
    };
    found.into_iter().map(name).collect()
}

fn find(bucket: &Arc<Bucket>, key: &str) -> Result<Vec<Found>> {
    Arc::clone(bucket).find(key, &Silent)
}

fn object(bucket: &Arc<Bucket>, key: &str) -> Object {
    match find(bucket, key).unwrap().pop() {
        Some(Found::Object(object)) => object,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_url_names_an_object_or_all_below_it_or_what_it_matches() {
    let bucket = bucket(&KEYS);
    for (key, expected) in [
        ("a.jsonl", &["s3://b/a.jsonl"][..]),
        ("odd [x] 100%.jsonl", &["s3://b/odd [x] 100%.jsonl"]),
        ("a", &["s3://b/a: 1.jsonl 2.jsonl.gz b/3.jsonl"]),
        ("a/", &["s3://b/a: 1.jsonl 2.jsonl.gz b/3.jsonl"]),
        ("%41/*", &["s3://b/%41/5.jsonl"]),
        (
            "",
            &[
                "s3://b/: %41/5.jsonl a.jsonl a/1.jsonl a/2.jsonl.gz a/b/3.jsonl ab/4.jsonl odd [x] 100%.jsonl",
            ],
        ),
        ("a/*.jsonl", &["s3://b/a/1.jsonl"]),
        ("a/[12]*", &["s3://b/a/1.jsonl", "s3://b/a/2.jsonl.gz"]),
        ("a*", &["s3://b/a: 1.jsonl 2.jsonl.gz b/3.jsonl", "s3://b/a.jsonl", "s3://b/ab: 4.jsonl"]),
        ("a/**/*.jsonl", &["s3://b/a/1.jsonl", "s3://b/a/b/3.jsonl"]),
        ("a/?", &["s3://b/a/b: 3.jsonl"]),
    ] {
        let found = names(find(&bucket, key).unwrap());
        assert_eq!(found, expected, "{key}");
    }
    for missing in ["x", "a/1", "a.jsonl/", "x/*", "[", "a/?x"] {
        assert_eq!(find(&bucket, missing).unwrap_err().exit_code(), 66, "{missing}");
    }
}

#[test]
fn clients_are_made_for_every_store_without_asking_it() {
    let options = [
        ("AWS_SKIP_SIGNATURE", "true"),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "someone"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
        ("AWS_NO_SUCH_OPTION", "x"),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = OpenConfig { object_stores: ObjectStoreOptions(options.to_vec()), ..OpenConfig::standard() };
    assert!(!format!("{config:?}").contains("c2VjcmV0"));
    let mut buckets = Buckets::new(&config, &Silent);
    for root in ["s3://b", "s3a://b", "gs://b", "az://c", "abfss://c@someone.dfs.core.windows.net"] {
        let bucket = buckets.open(root).unwrap();
        assert!(!format!("{bucket:?}").contains("c2VjcmV0"));
        assert!(Arc::ptr_eq(&bucket, &buckets.open(root).unwrap()));
    }
    for (wrong, code) in [("s3://", 2), ("s3:///key", 2), ("s3://b:1/key", 2), ("s3://b/a//b", 2)] {
        assert_eq!(buckets.find(Path::new(wrong)).unwrap_err().exit_code(), code, "{wrong}");
    }
    let unknown = OpenConfig::standard();
    assert_eq!(Buckets::new(&unknown, &Silent).open("az://c").unwrap_err().exit_code(), 66);
}

#[test]
fn an_object_that_changes_is_refused() {
    let bucket = bucket(&KEYS);
    let listed = object(&bucket, "a.jsonl");
    let download = || listed.download(&temp_dir(), &Silent);
    assert_eq!(download().unwrap()[..], *b"a.jsonl");
    listed.verify_unchanged().unwrap();
    put(&bucket, "a.jsonl", b"A.JSONL".to_vec());
    for error in [download().unwrap_err(), listed.verify_unchanged().unwrap_err()] {
        assert_eq!(error.exit_code(), 74);
        assert!(error.to_string().starts_with("s3://b/a.jsonl: input changed"), "{error}");
    }
    bucket.wait(bucket.store.delete(&Key::from("a.jsonl")), &Silent).unwrap().unwrap();
    assert_eq!(download().unwrap_err().exit_code(), 74);
    assert_eq!(listed.verify_unchanged().unwrap_err().exit_code(), 74);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for (cut, every) in [(0, false), (1, false), (399_999, false), (400_000, false), (100_000, true)] {
        let store = Cutting::new(cut, every);
        let asked = Arc::clone(&store.asked);
        let bucket = Arc::new(Bucket::new("s3://b", Box::new(store)).unwrap());
        put(&bucket, "x.txt", bytes.clone());
        let counted = Counted::default();
        let found = object(&bucket, "x.txt").download(&temp_dir(), &counted).unwrap();
        assert!(found[..] == bytes[..], "cut at {cut}");
        assert_eq!(*counted.n_bytes.lock().unwrap(), 400_000, "cut at {cut}");
        let expected: Vec<u64> = match (cut, every) {
            (0, _) => vec![0, 0],
            (400_000, _) => vec![0],
            (_, false) => vec![0, cut],
            (_, true) => vec![0, 100_000, 200_000, 300_000],
        };
        assert_eq!(*asked.lock().unwrap(), expected, "cut at {cut}");
    }
    let store = Cutting::new(10, true);
    let bucket = Arc::new(Bucket::new("s3://b", Box::new(store)).unwrap());
    put(&bucket, "x.txt", bytes);
    let error = object(&bucket, "x.txt").download(&temp_dir(), &Silent).unwrap_err();
    assert!(error.to_string().contains("after 50 of 400000 bytes"), "{error}");
    assert_eq!(error.exit_code(), 75);
}

#[test]
fn a_run_that_is_to_stop_waits_for_no_store() {
    let bucket = bucket(&KEYS);
    let counted = Counted::default();
    let waits = bucket.wait(std::future::pending::<()>(), counted.stopped());
    assert!(matches!(waits, Err(Error::Interrupted)));
    let error = object(&bucket, "a.jsonl").download(&temp_dir(), &counted).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
}

#[test]
fn a_refusal_is_told_without_the_words_of_the_store() {
    let body =
        "Server returned non-2xx status code: 403 Forbidden: <Code>InvalidAccessKeyId</Code><Id>AKIA7</Id>";
    let path = "x".to_owned();
    let refused = failure("s3://b/x", &StoreError::PermissionDenied { path, source: body.into() });
    let text = refused.to_string();
    assert!(text.contains("status 403, InvalidAccessKeyId") && !text.contains("AKIA7"), "{text}");
    for (answer, code) in [
        ("status code: 503 Slow Down", 75),
        ("status code: 400 Bad Request", 66),
        ("status code: 404", 66),
        ("Error performing PUT http://169.254.169.254/latest/api/token in 3s", 66),
        ("a service account cannot be read", 66),
    ] {
        let error = failure("gs://b", &StoreError::Generic { store: "GCS", source: answer.into() });
        assert_eq!(error.exit_code(), code, "{answer}");
    }
}

/// Counts bytes, and can ask to stop.
#[derive(Default)]
struct Counted {
    n_bytes: Mutex<u64>,
    stops: AtomicBool,
}

impl Counted {
    fn stopped(&self) -> &Self {
        self.stops.store(true, Ordering::Relaxed);
        self
    }
}

impl Progress for Counted {
    fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}

    fn advance(&self, n: u64) {
        *self.n_bytes.lock().unwrap() += n;
    }

    fn interrupted(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }
}

/// A wish to stop that comes when it was looked for so many times.
struct Stopping(Mutex<u64>);

impl Progress for Stopping {
    fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}

    fn advance(&self, _n: u64) {}

    fn interrupted(&self) -> bool {
        let mut left = self.0.lock().unwrap();
        *left = left.wrapping_sub(1);
        *left == u64::MAX || *left > 1 << 60
    }
}

/// A store whose first answer, or every one, ends after some bytes.
#[derive(Debug)]
struct Cutting {
    inner: InMemory,
    n_bytes: u64,
    every: bool,
    /// Where the answers began.
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Cutting {
    fn new(n_bytes: u64, every: bool) -> Self {
        Cutting { inner: InMemory::new(), n_bytes, every, asked: Arc::default() }
    }
}

impl fmt::Display for Cutting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cutting")
    }
}

#[async_trait]
impl ObjectStore for Cutting {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> StoreResult<GetResult> {
        let start = match &options.range {
            Some(GetRange::Bounded(range)) => range.start,
            _ => 0,
        };
        let is_head = options.head;
        let answer = self.inner.get_opts(key, options).await?;
        if is_head {
            return Ok(answer);
        }
        let is_first = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(start);
            asked.len() == 1
        };
        if !is_first && !self.every {
            return Ok(answer);
        }
        let (meta, range, attributes) =
            (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
        let mut bytes = answer.bytes().await?;
        bytes.truncate(usize::try_from(self.n_bytes).unwrap());
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
    }

    fn delete_stream(
        &self,
        keys: BoxStream<'static, StoreResult<Key>>,
    ) -> BoxStream<'static, StoreResult<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// The keys of a bucket with their bytes.
fn stored(bucket: &Arc<Bucket>) -> Vec<(String, Vec<u8>)> {
    let all = bucket.list(&Key::default(), &Silent).unwrap();
    let of = |meta: ObjectMeta| {
        let object = Object { bucket: Arc::clone(bucket), meta };
        let key = object.meta.location.to_string();
        (key, object.download(&temp_dir(), &Silent).unwrap().to_vec())
    };
    all.into_iter().map(of).collect()
}

#[test]
fn an_output_replaces_all_that_was_below_its_prefix_and_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        verbatim_store::write_private(&path, bytes).unwrap();
    };
    let long: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
    write("a/odd [x] 100%.jsonl", &long);
    write("b.jsonl", b"b");
    write("empty.jsonl", b"");
    write("_verbatim/last.json", b"all");
    let last = Path::new("_verbatim/last.json");
    let bucket = bucket(&["out/old.jsonl", "out/_verbatim/last.json", "out-of/it.jsonl"]);
    let refused = Prefix::of(Arc::clone(&bucket), "out", Existing::Refuse, &Silent).unwrap_err();
    assert_eq!((refused.exit_code(), refused.to_string().contains("s3://b/out")), (73, true));
    let prefix = Prefix::of(Arc::clone(&bucket), "out", Existing::Replace, &Silent).unwrap();
    // Stopped before the end, there is no last file, old or new: looked at before each file, and after each part of one.
    let has_last = || stored(&bucket).iter().any(|(key, _)| key == "out/_verbatim/last.json");
    let stops = (0..).take_while(|&n_looks| {
        let stopped = prefix.publish(folder.path(), last, &Stopping(Mutex::new(n_looks)));
        assert_eq!(stopped.is_ok(), has_last(), "{n_looks}");
        stopped.is_err()
    });
    assert_eq!(stops.count(), 4 + 20);
    prefix.publish(folder.path(), last, &Silent).unwrap();
    let expected = [
        ("out-of/it.jsonl".to_owned(), b"out-of/it.jsonl".to_vec()),
        ("out/_verbatim/last.json".to_owned(), b"all".to_vec()),
        ("out/a/odd [x] 100%.jsonl".to_owned(), long),
        ("out/b.jsonl".to_owned(), b"b".to_vec()),
        ("out/empty.jsonl".to_owned(), Vec::new()),
    ];
    assert_eq!(stored(&bucket), expected);
}
