//! The wrapping that an input had, around what is written in its place.

use std::io::Write;

use verbatim_store::Output;

use crate::error::{Error, Result};
use crate::formats::Container;

/// Calls `write` with a sink that compresses as `container` says, into a file.
///
/// # Errors
/// Those of `write`, and what the disk refuses.
pub(crate) fn encode(
    container: Container,
    output: &mut Output,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let path = output.path().to_owned();
    let failed = |error| Error::Store(verbatim_store::Error::io(&path, "write", error));
    match container {
        Container::Plain => write(output),
        Container::Gzip => {
            // The header has no time and no name, so equal records give equal files.
            let mut encoder = flate2::write::GzEncoder::new(output, flate2::Compression::default());
            write(&mut encoder)?;
            encoder.finish().map(drop).map_err(failed)
        }
        Container::Zstd => {
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            let mut encoder = zstd::stream::write::Encoder::new(output, level).map_err(failed)?;
            encoder.include_checksum(true).map_err(failed)?;
            write(&mut encoder)?;
            encoder.finish().map(drop).map_err(failed)
        }
    }
}
