//! The key by which a run names what it found.

use std::path::Path;

use verbatim_report::{Redactor, Reveal};
use verbatim_store::{Bytes, write_private};

use crate::failure;

/// The redactor of this run; its key is new unless one is given, and stays in the run's folder.
pub(crate) fn redactor(key: Option<&Path>, reveal: bool, folder: &Path) -> anyhow::Result<Redactor> {
    let key = match key {
        Some(path) => <[u8; 32]>::try_from(&Bytes::open(path)?[..])
            .map_err(|_| failure::usage(format!("{}: a key is 32 bytes", path.display())))?,
        None => new_key()?,
    };
    write_private(&folder.join("key"), &key)?;
    Ok(Redactor::new(key, if reveal { Reveal::Revealed } else { Reveal::Redacted }))
}

/// 32 bytes from the operating system.
fn new_key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
    Ok(key)
}
