//! Side-by-side timings on generated text: each figure is the median of five runs and stands beside a naive way to
//! do the same, measured in the same process. `cargo bench`
//!
//! Absolute times depend on the machine; read the ratios.

use std::collections::HashSet;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use verbatim_corpus::{Corpus, OpenConfig};
use verbatim_dedup::{DedupConfig, Resources, plan};
use verbatim_lab::{SynthConfig, demo, synthesize, write_documents};
use verbatim_store::{Access, Existing, Replace, Silent};

const N_RUNS: usize = 5;

fn median_seconds(mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..N_RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[N_RUNS / 2]
}

/// Parses every line and keeps the texts in a set, on one thread: what a short script does.
fn naive_exact(jsonl: &[u8]) -> usize {
    let mut seen = HashSet::new();
    for line in jsonl.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let record: serde_json::Value = serde_json::from_slice(line).expect("generated lines are JSON");
        seen.insert(record["text"].as_str().expect("a text").to_owned());
    }
    seen.len()
}

fn corpus_file(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("corpus.jsonl");
    let documents = synthesize(&SynthConfig { n_documents: 40_000, ..SynthConfig::standard(7) });
    let mut file = Replace::create(&path, Access::Shared, Existing::Refuse).expect("a temporary file");
    write_documents(&documents, &mut file, &path).expect("a temporary file");
    file.finish().expect("a temporary file");
    path
}

#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
fn main() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = corpus_file(&folder);
    let jsonl = std::fs::read(&path).expect("the file just written");
    let resources = Resources::standard(folder.path());
    let config = demo::demo_dedup_config().expect("the demo's configuration is valid");
    let open = || {
        Corpus::open(std::slice::from_ref(&path), &OpenConfig::standard(), &Silent).expect("a valid corpus")
    };
    let exact = DedupConfig { minhash: None, ..config.clone() };

    let naive = median_seconds(|| {
        black_box(naive_exact(&jsonl));
    });
    let ours = median_seconds(|| {
        black_box(plan(&open(), &exact, &resources, &Silent).expect("a plan"));
    });
    let near = median_seconds(|| {
        black_box(plan(&open(), &config, &resources, &Silent).expect("a plan"));
    });
    let megabytes = jsonl.len() as f64 / 1e6;
    println!(
        "{megabytes:.1} MB of JSON lines, {} threads, medians of {N_RUNS}",
        rayon::current_num_threads()
    );
    println!("{:<44}{:>9.0} MB/s", "naive exact (serde_json, HashSet, 1 thread)", megabytes / naive);
    println!("{:<44}{:>9.0} MB/s  {:>5.1}x naive", "open + exact", megabytes / ours, naive / ours);
    println!(
        "{:<44}{:>9.0} MB/s  {:>5.2}x naive",
        "open + exact + minhash, verified",
        megabytes / near,
        naive / near
    );
}
