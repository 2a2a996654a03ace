//! The file that says what a folder of files is: other programs have manifests too, and other versions have had others.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Bytes, Error, json_fault};

/// Reads the manifest at a path, a JSON object with the members `magic` and `version`; `None` where there is none, or one of
/// something else.
///
/// # Errors
/// What `bad` makes of why it cannot be used: another version, members that are missing or of the wrong type. Those of
/// [`Bytes::open`].
pub fn read_manifest<T: DeserializeOwned, E: From<Error>>(
    path: &Path,
    (magic, version): (&str, u32),
    bad: impl Fn(String) -> E,
) -> Result<Option<T>, E> {
    #[derive(Deserialize)]
    struct Header {
        magic: String,
        version: u32,
    }
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = Bytes::open(path)?;
    let Ok(header) = serde_json::from_slice::<Header>(&bytes) else { return Ok(None) };
    if header.magic != magic {
        return Ok(None);
    }
    if header.version != version {
        return Err(bad(format!("version {}, this program reads version {version}", header.version)));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(json_fault(&error).to_owned()))
}
