//! The stages that compare documents, beside what limits them.
//!
//! A limit is what a program must do at least, on all threads: read every line as JSON and decode the text; hash every run
//! of five words.

use std::borrow::Cow;
use std::path::Path;

use memchr::{memchr, memchr_iter};
use rayon::prelude::*;
use serde::Deserialize;
use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_dedup::{DedupConfig, ExactConfig, MinhashConfig, Resources, plan};
use verbatim_index::{Normalizer, Shingler, Unit, Words};
use verbatim_lab::demo;
use verbatim_store::{Bytes, Silent};
use xxhash_rust::xxh3::xxh3_64;

use crate::{N_RUNS, Run, medians};

/// Words in a shingle, and bytes of lines that a thread takes at once.
const N_WORDS: usize = 5;
const TAKEN_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Calls `read` with the text of each line, in parallel; the sum of what it gives.
fn for_each_text(path: &Path, read: impl Fn(&str) -> usize + Sync) -> usize {
    let jsonl = Bytes::open(path).expect("a file");
    let mut parts = Vec::new();
    let mut rest = &jsonl[..];
    while !rest.is_empty() {
        let mark = TAKEN_BYTES.min(rest.len());
        let end = memchr(b'\n', &rest[mark..]).map_or(rest.len(), |i| mark + i + 1);
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    let read_part = |part: &[u8]| {
        let mut start = 0;
        let mut sum = 0;
        for end in memchr_iter(b'\n', part) {
            let record: Record<'_> = serde_json::from_slice(&part[start..end]).expect("a record with a text");
            sum += read(&record.text);
            start = end + 1;
        }
        sum
    };
    parts.into_par_iter().map(read_part).sum()
}

/// Hashes every run of words, as wide as it stands in the text.
fn shingle_hashes(text: &str) -> usize {
    let mut starts = [0; N_WORDS];
    let mut hashes = 0;
    for (i, word) in text.split_ascii_whitespace().enumerate() {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        starts[i % N_WORDS] = start;
        if i + 1 >= N_WORDS {
            hashes ^= xxh3_64(&text.as_bytes()[starts[(i + 1) % N_WORDS]..start + word.len()]);
        }
    }
    (hashes % 2) as usize
}

#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
pub(crate) fn run(path: &Path, folder: &Path) {
    let resources = Resources::standard(folder);
    let config = demo::demo_dedup_config().expect("the demo's configuration is valid");
    let config = DedupConfig { substring: None, ..config };
    let as_it_is = Normalizer::new(Vec::new());
    let shingler = Shingler::new(Unit::Word, N_WORDS, as_it_is.clone(), None).expect("a valid shingler");
    let minhash = config.minhash.clone().expect("the demo has this stage");
    let near = DedupConfig {
        exact: None,
        minhash: Some(MinhashConfig { shingler: shingler.with_words(Words::Whitespace), ..minhash }),
        ..config.clone()
    };
    let exact = Some(ExactConfig { normalizer: as_it_is, key: None });
    let exact = DedupConfig { exact, minhash: None, ..config.clone() };
    let dedup = |config| {
        let corpus = Corpus::open(&[path.to_path_buf()], &OpenConfig::standard(), &Silent);
        plan(&corpus.expect("a valid corpus"), config, &resources, &Silent).expect("a plan").removals().len()
    };
    let runs: [Run<'_>; 5] = [
        ("limit: every line read by serde_json", &|| for_each_text(path, str::len)),
        ("limit: and every 5 words hashed", &|| for_each_text(path, shingle_hashes)),
        ("exact, of texts as they are", &|| dedup(&exact)),
        ("MinHash, of texts as they are", &|| dedup(&near)),
        ("exact and MinHash, normalised", &|| dedup(&config)),
    ];
    let medians = medians(&runs);
    let megabytes = std::fs::metadata(path).expect("a file").len() as f64 / 1e6;
    let n_threads = rayon::current_num_threads();
    println!("dedup: {megabytes:.1} MB of JSON lines, {n_threads} threads, medians of {N_RUNS}");
    for (i, (name, _)) in runs.iter().enumerate() {
        let limits = match i {
            0 | 1 => String::new(),
            _ => format!("{:.2} and {:.2} of the limits", medians[0] / medians[i], medians[1] / medians[i]),
        };
        println!("{name:<40}{:>6.0} MB/s  {limits}", megabytes / medians[i]);
    }
}
