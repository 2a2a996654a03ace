//! The search for repeats in texts in memory: beside a suffix array alone, and from a part of the corpus to the whole.

use std::path::Path;

use libsais::SuffixArrayConstruction;
use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_index::{Copies, Texts, Wanted, repeats};
use verbatim_store::{Room, Scratch, Silent};

use crate::{MAX_SUFFIX_BYTES, N_RUNS, Run, medians};

/// Memory for what is sorted.
const MEMORY: usize = 1 << 30;

/// All texts, one after the other.
fn joined(path: &Path) -> (Vec<u8>, Vec<u64>) {
    let config = OpenConfig::standard();
    let corpus = Corpus::open(&[path.to_path_buf()], &config, &Silent).expect("a valid corpus");
    let (mut bytes, mut starts) = (Vec::new(), vec![0]);
    for id in corpus.ids() {
        bytes.extend_from_slice(&corpus.text(id));
        starts.push(bytes.len() as u64);
    }
    (bytes, starts)
}

#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
pub(crate) fn run(path: &Path, folder: &Path) {
    let (bytes, starts) = joined(path);
    let scratch = Scratch::unnamed(folder);
    let room = Room { n_bytes: MEMORY, scratch: &scratch };
    let search = |n_texts: usize, min_len: usize| {
        let symbols = &bytes[..starts[n_texts] as usize];
        let texts: Texts<'_, 1> = Texts { symbols: symbols.as_chunks().0, starts: &starts[..=n_texts] };
        let wanted = Wanted { min_len, min_count: 2, copies: Copies::All };
        repeats(texts, wanted, room, &Silent).expect("a search").len()
    };
    let n_texts = starts.len() - 1;
    let megabytes = bytes.len() as f64 / 1e6;
    let n_threads = rayon::current_num_threads();
    println!("repeats: {megabytes:.1} MB of texts in memory, {n_threads} threads, medians of {N_RUNS}");
    let suffixes = || {
        let construction = SuffixArrayConstruction::for_text(&bytes[..]).in_owned_buffer32();
        construction.single_threaded().run().expect("a short text").suffix_array().len()
    };
    let [of_100, of_200] = [100, 200].map(|min_len| move || search(n_texts, min_len));
    let runs: [Run<'_>; 3] = [
        ("of 100 bytes", &of_100),
        ("of 200 bytes", &of_200),
        ("libsais, the suffix array alone", &suffixes),
    ];
    let n_runs = if bytes.len() <= MAX_SUFFIX_BYTES { 3 } else { 2 };
    let seconds = medians(&runs[..n_runs]);
    for (i, (name, _)) in runs[..n_runs].iter().enumerate() {
        let beside = match seconds.get(2).filter(|_| i < 2) {
            Some(suffixes) => format!("  {:.2} of the time of libsais", seconds[i] / suffixes),
            None => String::new(),
        };
        println!("{name:<40}{:>6.0} MB/s{beside}", megabytes / seconds[i]);
    }
    let parts: Vec<usize> = [16, 8, 4, 2, 1]
        .map(|part| starts.partition_point(|&start| start <= starts[n_texts] / part) - 1)
        .to_vec();
    let searches: Vec<_> = parts.iter().map(|&n_texts| move || search(n_texts, 100)).collect();
    let runs: Vec<Run<'_>> = searches.iter().map(|search| ("", search as &dyn Fn() -> usize)).collect();
    for (&n_texts, seconds) in parts.iter().zip(medians(&runs)) {
        let megabytes = starts[n_texts] as f64 / 1e6;
        println!("of 100 bytes, in the first {megabytes:>6.0} MB{:>15.0} MB/s", megabytes / seconds);
    }
}
