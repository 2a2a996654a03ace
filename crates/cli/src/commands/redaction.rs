//! The key by which a run names what it found.

use std::path::Path;

use verbatim_report::{Redactor, Reveal};
use verbatim_store::{Bytes, write_private};

use crate::args::RevealFlags;
use crate::failure;

/// The redactor of this run; its key is new unless one is given, and stays in the run's folder.
pub(crate) fn redactor(flags: &RevealFlags, folder: &Path) -> anyhow::Result<Redactor> {
    let key = given_or_new(flags.key.as_deref())?;
    write_private(&folder.join("key"), &key)?;
    Ok(with(key, flags.reveal))
}

/// The redactor of a run without a folder; a new key is gone with it.
pub(crate) fn passing(flags: &RevealFlags) -> anyhow::Result<Redactor> {
    Ok(with(given_or_new(flags.key.as_deref())?, flags.reveal))
}

fn with(key: [u8; 32], reveal: bool) -> Redactor {
    Redactor::new(key, if reveal { Reveal::Revealed } else { Reveal::Redacted })
}

fn given_or_new(key: Option<&Path>) -> anyhow::Result<[u8; 32]> {
    match key {
        Some(path) => Ok(<[u8; 32]>::try_from(&Bytes::open(path)?[..])
            .map_err(|_| failure::usage(format!("{}: a key is 32 bytes", path.display())))?),
        None => new_key(),
    }
}

/// 32 bytes from the operating system.
fn new_key() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))?;
    Ok(key)
}
