//! The same bytes whatever the batch and the number of threads.

use std::fmt::Write;
use std::process::Command;

use verbatim_lm::{Gpt2, Gpt2Config, LanguageModel, SampleRequest, SamplingConfig, Temperature};
use verbatim_store::{Silent, xxh3_128_hex};

/// Large enough that gemm works in several threads and blocks of depth.
fn model() -> Gpt2 {
    let json = r#"{"vocab_size": 700, "n_positions": 64, "n_embd": 160, "n_layer": 2, "n_head": 4,
        "initializer_range": 0.1}"#;
    let config: Gpt2Config = serde_json::from_str(json).unwrap();
    let tensors = Gpt2::initial_tensors(&config, 11).unwrap();
    Gpt2::new(config, tensors.into_iter().collect()).unwrap()
}

/// Texts of 0 to 149 tokens, shorter and longer than the context.
fn texts() -> Vec<Vec<u32>> {
    (0..36u32).map(|n| (0..n * 37 % 150).map(|t| (n * 7919 + t * t * 31 + t) % 700).collect()).collect()
}

fn scored(model: &Gpt2, batch: usize) -> String {
    let records = model.score(&texts(), batch, &Silent).unwrap();
    let mut bytes = Vec::new();
    for record in records.iter().flatten() {
        for number in [record.log_prob, record.mean_log_prob, record.std_log_prob, record.entropy] {
            bytes.extend(number.to_bits().to_le_bytes());
        }
        bytes.extend(record.rank.to_le_bytes());
    }
    xxh3_128_hex(&bytes)
}

fn sampled(model: &Gpt2, batch: usize) -> String {
    let requests: Vec<SampleRequest> = (0..66u64)
        .map(|index| SampleRequest {
            index,
            prompt: texts()[1 + index as usize % 2][..1 + index as usize % 2].to_vec(),
        })
        .collect();
    let config = SamplingConfig {
        max_new_tokens: 12,
        top_k: Some(40),
        top_p: Some(0.95),
        temperature: Temperature::Decaying { from: 10.0, to: 1.0, over_tokens: 10 },
        seed: 2,
        batch,
        stop_token: Some(3),
    };
    let mut tokens = String::new();
    for sample in model.sample(&requests, &config, &Silent).unwrap() {
        write!(tokens, "{}:{:?} ", sample.index, sample.tokens).unwrap();
    }
    xxh3_128_hex(tokens.as_bytes())
}

fn digest(model: &Gpt2, batch: usize) -> String {
    format!("{} {}", scored(model, batch), sampled(model, batch))
}

#[test]
fn bytes_are_the_same_for_every_batch() {
    let model = model();
    let digests = [1, 7, 64].map(|batch| digest(&model, batch));
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

/// gemm blocks products of at most 64 rows and 64 columns in another way, and those with at most 256 results
/// in a third; a model this narrow meets both.
#[test]
fn bytes_are_the_same_for_every_batch_of_a_narrow_model() {
    for (vocab_size, n_inner) in [(12, 1500), (60, 700)] {
        let json = format!(
            r#"{{"vocab_size": {vocab_size}, "n_positions": 32, "n_embd": 60, "n_layer": 1, "n_head": 3,
            "n_inner": {n_inner}, "initializer_range": 0.3}}"#
        );
        let config: Gpt2Config = serde_json::from_str(&json).unwrap();
        let tensors = Gpt2::initial_tensors(&config, 12).unwrap();
        let model = Gpt2::new(config, tensors.into_iter().collect()).unwrap();
        let texts: Vec<Vec<u32>> = (0..40u32)
            .map(|n| (0..7 + n % 20).map(|t| (n * 7 + t * t * 3 + t) % vocab_size).collect())
            .collect();
        let records = [1, 7, 64].map(|batch| model.score(&texts, batch, &Silent).unwrap());
        assert_eq!(records[0], records[1]);
        assert_eq!(records[0], records[2]);
    }
}

/// Runs in the processes of the next test, which read the digest.
#[test]
fn a_digest_is_printed() {
    println!("digest {}", digest(&model(), 7));
}

/// Candle and gemm take their number of threads from the process, so each number needs a process.
#[test]
fn bytes_are_the_same_for_every_number_of_threads() {
    let digest = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "invariance::a_digest_is_printed", "--nocapture"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let digest = output.split("digest ").nth(1).unwrap_or_else(|| panic!("no digest: {output}"));
        digest.lines().next().unwrap().to_owned()
    };
    let one = digest("1");
    assert_eq!(one, digest("2"));
    assert_eq!(one, digest("8"));
}
