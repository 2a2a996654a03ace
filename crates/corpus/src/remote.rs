//! Inputs and outputs in object stores (S3, Google Cloud Storage, Azure Blob Storage), by URL.
//!
//! Without the feature `object-stores` such a URL is known for what it is, and refused.

#[cfg(not(feature = "object-stores"))]
mod absent;
#[cfg(feature = "object-stores")]
mod bucket;
#[cfg(feature = "object-stores")]
mod download;
#[cfg(feature = "object-stores")]
mod failure;
#[cfg(feature = "object-stores")]
mod mirror;
#[cfg(feature = "object-stores")]
#[cfg(test)]
mod tests;
#[cfg(feature = "object-stores")]
mod upload;

use std::path::{Path, PathBuf};

#[cfg(not(feature = "object-stores"))]
pub(crate) use absent::{Buckets, Object};
#[cfg(not(feature = "object-stores"))]
pub use absent::{Mirror, Prefix};
#[cfg(feature = "object-stores")]
pub(crate) use bucket::{Buckets, Object};
#[cfg(feature = "object-stores")]
pub use mirror::Mirror;
#[cfg(feature = "object-stores")]
pub use upload::Prefix;

/// The schemes of the stores.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"];

/// What an input in an object store turned out to be.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "object-stores"),
    expect(dead_code, reason = "nothing is found where no store can be asked")
)]
pub(crate) enum Found {
    Object(Object),
    /// Everything below a prefix, by bytes of the name, which is relative to it.
    Folder {
        url: PathBuf,
        objects: Vec<(PathBuf, Object)>,
    },
}

/// Whether a path is the URL of something in an object store, such as `s3://bucket/shards/`.
pub fn is_object_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| Some(text.split_once("://")?.0));
    scheme.is_some_and(|scheme| SCHEMES.contains(&scheme))
}

#[cfg(test)]
mod url_tests {
    use super::*;

    #[test]
    fn urls_of_object_stores_are_told_from_paths() {
        let urls = ["s3://b", "s3a://b/", "gs://b/k", "az://c/k", "abfss://c@a.dfs.core.windows.net/k"];
        for url in urls {
            assert!(is_object_url(Path::new(url)), "{url}");
        }
        for path in
            ["-", "s3", "s3:/b", "s3:", "./s3://b", "http://b/k", "https://b/k", "file:///b", "S3://b"]
        {
            assert!(!is_object_url(Path::new(path)), "{path}");
        }
    }
}
