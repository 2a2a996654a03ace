//! What a search will take, told before it begins.

use serde::Serialize;
use verbatim_corpus::Corpus;

use crate::all_pairs::Counts;
use crate::config::DedupConfig;
use crate::error::Result;
use crate::near::Near;
use crate::room::Resources;
use crate::substring::RunUnit;

/// The program itself, its threads and the shingles that are compared.
const FIXED_BYTES: u64 = 30 << 20;
/// The place of a document in the order of preference, and marks.
const DOCUMENT_BYTES: u64 = 17;
/// A key and a document; a line.
const POSTING_BYTES: u64 = 16;
const LINE_BYTES: u64 = 32;
/// What stands for a shingle in a set.
const SHINGLE_BYTES: u64 = 8;
/// Bytes of text in a token, roughly, and what is written for one.
const BYTES_IN_TOKEN: u64 = 4;
const TOKEN_BYTES: u64 = 8;
/// Bytes of text in a line, roughly.
const BYTES_IN_LINE: u64 = 40;

/// What a search will take, at most, but for what it finds: 40 bytes for each document that goes, 48 for each cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of scratch files.
    pub scratch: u64,
    /// How often all texts are read, the first time when the corpus is opened.
    pub reads: u64,
}

/// Tells what [`plan`](crate::plan()) will take.
///
/// # Errors
/// Those of a configuration that cannot be.
pub fn estimate(corpus: &Corpus, config: &DedupConfig, resources: &Resources) -> Result<Estimate> {
    let n_documents = corpus.n_documents() + corpus.references().len() as u64;
    let text_bytes = corpus.text_bytes() + corpus.reference_text_bytes();
    let near = Near::of(config)?;
    let (mut n_keys, mut table, mut reads) = (config.exact.iter().len() as u64 * n_documents, 0, 1);
    let room = resources.room().n_bytes as u64;
    match near.as_ref().map(|near| (near, near.choice())) {
        None => reads += u64::from(config.exact.is_some()),
        Some((_, Some(choice))) => {
            n_keys += choice.bands as u64 * n_documents;
            reads += 1;
        }
        Some((near, None)) if near.brute_force => {
            n_keys += n_documents;
            table = room.min(SHINGLE_BYTES * Counts::shingles(near.shingler, text_bytes));
            reads += near.passes();
        }
        Some((near, None)) => {
            // Every shingle of a prefix may stand elsewhere; in most corpora few do.
            let n_shingles = Counts::shingles(near.shingler, text_bytes);
            n_keys += near.prefix_of(n_shingles);
            table = Counts::places(n_shingles, resources.memory / 4);
            reads += near.passes();
        }
    }
    let lines = config.lines.iter().len() as u64 * LINE_BYTES * (text_bytes / BYTES_IN_LINE);
    reads += 2 * config.lines.iter().len() as u64;
    let (runs, spooled) = runs(config, text_bytes);
    reads += u64::from(config.substring.is_some());
    let sorted = [n_keys * POSTING_BYTES, lines, runs];
    let held = sorted.map(|bytes| bytes.min(room));
    // A list that grows has twice its bytes for a moment.
    let memory = FIXED_BYTES + DOCUMENT_BYTES * n_documents + table + 2 * held[0].max(held[1]).max(held[2]);
    let scratch = spooled + sorted.iter().filter(|&&bytes| bytes > room).sum::<u64>();
    Ok(Estimate { memory, scratch, reads })
}

/// Bytes of the anchors of the stage of repeated runs, and of its texts.
fn runs(config: &DedupConfig, text_bytes: u64) -> (u64, u64) {
    let Some(config) = &config.substring else { return (0, 0) };
    let (n_symbols, spooled) = match config.unit {
        RunUnit::Bytes => (text_bytes, text_bytes),
        RunUnit::Tokens(_) => (text_bytes / BYTES_IN_TOKEN, text_bytes / BYTES_IN_TOKEN * TOKEN_BYTES),
    };
    // Of w = L - L/2 + 1 places in a row, about two in w + 1 are anchors.
    let w = config.min_len - config.min_len / 2 + 1;
    (POSTING_BYTES * 2 * n_symbols / (w + 1), spooled)
}
