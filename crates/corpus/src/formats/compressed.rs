//! gzip and zstd streams, member by member: all members and frames are read, and what follows the
//! last one is named. Decompressed bytes go to a temporary file, so memory stays flat.

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use verbatim_store::{Bytes, Progress, Spool};

use crate::document::{printable, size};
use crate::error::{Error, Result};
use crate::formats::{Container, container_of};
use crate::schema::OpenConfig;

const BUFFER_BYTES: usize = 1 << 18;

/// A decompressed file.
pub(crate) struct Decoded {
    pub(crate) content: Bytes,
    /// Why and where the stream broke; `content` holds what came before.
    pub(crate) damage: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// Decompresses a whole file.
///
/// # Errors
/// More bytes than the configuration tolerates, no room for the temporary file, or interruption. A broken
/// stream is no error here but `damage`.
pub(crate) fn decode(
    (container, compressed): (Container, &[u8]),
    path: &Path,
    config: &OpenConfig,
    progress: &dyn Progress,
) -> Result<Decoded> {
    let buffer = vec![0; BUFFER_BYTES];
    let spool = Spool::create(&config.scratch)?;
    let mut sink = Sink { spool, buffer, path, config, progress };
    let mut warnings = Vec::new();
    let mut damage = None;
    let mut rest = compressed;
    let mut has_unchecked_frame = false;
    while !rest.is_empty() {
        let at = compressed.len() - rest.len();
        if at > 0 && rest.iter().all(|&b| b == 0) {
            warnings.push(format!(
                "{}: {} zero bytes after the compressed data",
                printable(path),
                rest.len()
            ));
            break;
        }
        if at > 0 && container_of(rest) != container {
            damage = Some(format!("trailing garbage at compressed byte {at}"));
            break;
        }
        has_unchecked_frame |= container == Container::Zstd && !has_checksum(rest);
        match decode_member(container, rest, &mut sink)? {
            Ok(after) => rest = after,
            Err(cause) => {
                let n = sink.spool.n_bytes();
                damage = Some(format!("{cause}, at decompressed byte {n}"));
                break;
            }
        }
    }
    if has_unchecked_frame {
        warnings.push(format!("{}: zstd without checksum, damage may go unnoticed", printable(path)));
    }
    Ok(Decoded { content: sink.spool.into_bytes()?, damage, warnings })
}

/// Decompresses one member or frame; gives what follows it, or why it is broken.
fn decode_member<'a>(
    container: Container,
    compressed: &'a [u8],
    sink: &mut Sink<'_>,
) -> Result<Result<&'a [u8], String>> {
    let input = Counted { rest: compressed, progress: sink.progress };
    Ok(match container {
        Container::Gzip => {
            let mut decoder = flate2::bufread::GzDecoder::new(input);
            sink.fill_from(&mut decoder)?.map(|()| decoder.into_inner().rest).map_err(gzip_cause)
        }
        Container::Zstd => {
            let window_log = sink.config.max_zstd_window_log;
            let decoder = zstd::stream::read::Decoder::with_buffer(input).and_then(|mut decoder| {
                decoder.window_log_max(window_log)?;
                Ok(decoder.single_frame())
            });
            match decoder {
                Ok(mut decoder) => sink
                    .fill_from(&mut decoder)?
                    .map(|()| decoder.finish().rest)
                    .map_err(|e| zstd_cause(e, window_log)),
                Err(e) => Err(zstd_cause(e, window_log)),
            }
        }
        Container::Plain => unreachable!("only compressed files are decoded"),
    })
}

fn gzip_cause(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "gzip stream truncated".to_owned(),
        _ => format!("gzip stream damaged: {error}"),
    }
}

fn zstd_cause(error: io::Error, max_window_log: u32) -> String {
    let message = error.to_string();
    if message.contains("too much memory") {
        return format!(
            "zstd window larger than 2^{max_window_log} bytes; raise --zstd-window-log to take it"
        );
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "zstd stream truncated".to_owned(),
        _ => format!("zstd stream damaged: {message}"),
    }
}

/// Whether a zstd frame ends in a checksum: bit 2 of the frame header descriptor (RFC 8878, 3.1.1.1).
/// Skippable frames have nothing to check.
fn has_checksum(frame: &[u8]) -> bool {
    frame[0] & 0xf0 == 0x50 || frame.get(4).is_none_or(|descriptor| descriptor & 0b100 != 0)
}

/// Where decompressed bytes go, with their limit.
struct Sink<'a> {
    spool: Spool,
    buffer: Vec<u8>,
    path: &'a Path,
    config: &'a OpenConfig,
    progress: &'a dyn Progress,
}

impl Sink<'_> {
    /// The outer error ends the run; the inner one is the reader's.
    fn fill_from(&mut self, reader: &mut impl Read) -> Result<io::Result<()>> {
        loop {
            let n = match reader.read(&mut self.buffer) {
                Ok(0) => return Ok(Ok(())),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Ok(Err(e)),
            };
            if let Some(max_decoded_bytes) = self.config.max_decoded_bytes
                && self.spool.n_bytes() + size(n) > max_decoded_bytes
            {
                return Err(Error::TooLarge { path: printable(self.path), max_decoded_bytes });
            }
            let written = self.spool.write_all(&self.buffer[..n]);
            written
                .map_err(|e| verbatim_store::Error::io(self.path, "write the decompressed bytes of", e))?;
            if self.progress.interrupted() {
                return Err(Error::Interrupted);
            }
        }
    }
}

/// A slice that tells how far it was read.
struct Counted<'a, 'p> {
    rest: &'a [u8],
    progress: &'p dyn Progress,
}

impl Read for Counted<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.rest.read(buffer)?;
        self.progress.advance(size(n));
        Ok(n)
    }
}

impl BufRead for Counted<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, n: usize) {
        self.rest = &self.rest[n..];
        self.progress.advance(size(n));
    }
}
