//! The same bytes whatever the batch, the number of threads, the vectors, and the way a text came in.

use std::fmt::Write;
use std::process::Command;

use rayon::ThreadPoolBuilder;
use verbatim_lm::{
    CpuEngine, Gpt2, Gpt2Config, Kernel, LanguageModel, ModelConfig, SampleRequest, SamplingConfig,
    Temperature, WeightType,
};
use verbatim_store::{Silent, xxh3_128_hex};

fn config() -> Gpt2Config {
    let json = r#"{"vocab_size": 700, "n_positions": 64, "n_embd": 160, "n_layer": 2, "n_head": 4,
        "initializer_range": 0.1}"#;
    serde_json::from_str(json).unwrap()
}

/// Large enough that gemm works in several threads and blocks of depth.
fn model() -> Gpt2 {
    Gpt2::new(config(), Gpt2::initial_tensors(&config(), 11).unwrap().into_iter().collect()).unwrap()
}

fn engine(kernel: &str, weight_type: WeightType) -> CpuEngine {
    let tensors = Gpt2::initial_tensors(&config(), 11).unwrap().into_iter().collect();
    let kernel: Kernel = kernel.parse().unwrap();
    CpuEngine::new(&ModelConfig::Gpt2(config()), tensors, kernel, weight_type).unwrap()
}

/// Texts of 0 to 149 tokens, shorter and longer than the context.
fn texts() -> Vec<Vec<u32>> {
    (0..36u32).map(|n| (0..n * 37 % 150).map(|t| (n * 7919 + t * t * 31 + t) % 700).collect()).collect()
}

fn scored(model: &dyn LanguageModel, batch: usize) -> String {
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

fn sampled(model: &dyn LanguageModel, batch: usize) -> String {
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

fn digest(model: &dyn LanguageModel, batch: usize) -> String {
    format!("{} {}", scored(model, batch), sampled(model, batch))
}

#[test]
fn bytes_are_the_same_for_every_batch() {
    let model = model();
    let digests = [1, 7, 64].map(|batch| digest(&model, batch));
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn the_engines_bytes_are_the_same_for_every_batch_thread_and_vector() {
    let mut digests = Vec::new();
    for (kernel, weight_type) in
        [("avx512", WeightType::F32), ("avx2", WeightType::F32), ("auto", WeightType::Bf16)]
    {
        if kernel.parse::<Kernel>().is_err() {
            eprintln!("SKIPPED: {kernel}, which this machine lacks");
            continue;
        }
        let engine = engine(kernel, weight_type);
        let digest_by = |n_threads, batch| {
            let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| digest(&engine, batch))
        };
        let expected = digest_by(1, 7);
        for (n_threads, batch) in [(2, 1), (2, 64), (8, 7)] {
            let found = digest_by(n_threads, batch);
            assert_eq!(found, expected, "{kernel}, {n_threads} threads, batch {batch}");
        }
        digests.push((weight_type, expected));
    }
    // Vectors of another width change nothing; rounded weights do.
    for pair in digests.windows(2) {
        assert_eq!(pair[0].1 == pair[1].1, pair[0].0 == pair[1].0, "{digests:?}");
    }
}

/// What every machine must find: additions and multiplications of IEEE 754 and nothing else.
#[test]
fn the_portable_kernels_bytes_are_written_down() {
    let engine = engine("portable", WeightType::F32);
    for batch in [1, 64] {
        assert_eq!(
            digest(&engine, batch),
            "3bb15ed09dbd8e1a396e790c4c82b259 7f5028d8f3ea3522f268ec856fd9a572"
        );
    }
}

/// A sample carries the records that scoring it gives, so nothing is scored twice.
#[test]
fn a_samples_records_are_those_of_scoring() {
    let engine = engine("auto", WeightType::F32);
    for (model, exact) in [(&engine as &dyn LanguageModel, true), (&model(), false)] {
        for (top_k, top_p) in [(None, None), (Some(5), None), (None, Some(0.9))] {
            let request = |index: u64| SampleRequest { index, prompt: vec![3; 1 + index as usize % 5] };
            let config = SamplingConfig {
                max_new_tokens: 20,
                top_k,
                top_p,
                temperature: Temperature::Fixed(1.5),
                seed: 4,
                batch: 6,
                stop_token: None,
            };
            let samples = model.sample(&(0..9).map(request).collect::<Vec<_>>(), &config, &Silent).unwrap();
            for sample in samples {
                let text = [&sample.prompt[..], &sample.tokens[..]].concat();
                let scored = &model.score(&[text], 1, &Silent).unwrap()[0][sample.prompt.len() - 1..];
                assert_eq!(sample.tokens.len(), 20);
                for (a, b) in scored.iter().zip(&sample.records) {
                    assert_eq!((a.token, a.rank), (b.token, b.rank));
                    assert!((a.log_prob - b.log_prob).abs() < 1e-5);
                    assert!(!exact || a == b, "{a:?} against {b:?}");
                }
            }
        }
    }
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
