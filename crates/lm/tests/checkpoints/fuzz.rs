//! Files changed at random: whatever stands in them, they are opened or refused, without a panic and within bounds.
//!
//! Each target runs a few thousand times here, and `VERBATIM_FUZZ_RUNS` times where that is set (a million for a release).
//! Run i is the same on every machine; a failure names it.

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use verbatim_lm::{Checkpoint, ModelConfig, Runtime, Tokenizer};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{folder, gguf};

/// Runs of each target where nobody asks for more.
const N_RUNS: u64 = 2000;
/// Memory that one file may cost, in kilobytes. (Over a million runs the process grows all the same, at times in leaps:
/// the tokenizer library keeps words of every tokenizer that there ever was.)
const MAX_KILOBYTES: u64 = 256 << 10;

/// Random numbers of one run.
struct Dice {
    run: u64,
    n_thrown: u64,
}

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.n_thrown += 1;
        (xxh3_64_with_seed(&self.n_thrown.to_le_bytes(), self.run) % n.max(1) as u64) as usize
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len);
        start..(start + 1 + self.below(24)).min(len)
    }
}

/// Numbers at which readers go wrong.
const NUMBERS: [i128; 14] = [
    0,
    1,
    -1,
    2,
    31,
    255,
    65_536,
    2_147_483_647,
    2_147_483_648,
    4_294_967_296,
    1 << 40,
    1 << 60,
    1 << 63,
    u64::MAX as i128,
];

/// One to four changes of a good file.
fn mutated(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + dice.below(4) {
        if bytes.is_empty() {
            return bytes;
        }
        // Headers stand in front: half of the changes go there.
        let reach = if dice.below(2) == 0 { bytes.len() } else { bytes.len().min(400) };
        let range = dice.range(reach);
        match dice.below(9) {
            0 => bytes[range.start] ^= 1 << dice.below(8),
            1 => bytes[range.start] = b"\0\xff{}[]\",:-+.0919eE\x80PK"[dice.below(21)],
            2 => drop(bytes.drain(range)),
            3 => {
                let copy = bytes[range.clone()].to_vec();
                let at = dice.below(bytes.len());
                bytes.splice(at..at, copy);
            }
            4 => {
                let number = (NUMBERS[dice.below(NUMBERS.len())] as u64).to_le_bytes();
                let n = [4, 8][dice.below(2)].min(bytes.len() - range.start);
                bytes[range.start..range.start + n].copy_from_slice(&number[..n]);
            }
            5 | 6 => {
                // A number in text becomes another.
                let Some(start) = bytes[range.start..].iter().position(u8::is_ascii_digit) else { continue };
                let start = range.start + start;
                let n = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(start..start + n, NUMBERS[dice.below(NUMBERS.len())].to_string().into_bytes());
            }
            7 => bytes.truncate(range.start),
            _ => {
                let other = dice.range(bytes.len());
                let copy = bytes[other].to_vec();
                bytes.splice(range, copy);
            }
        }
    }
    bytes
}

/// Gives changed files to `open`, which says with which exit code one was refused.
fn fuzz(name: &str, good: &[u8], mut open: impl FnMut(&[u8]) -> Option<u8>) {
    let n_runs = std::env::var("VERBATIM_FUZZ_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(N_RUNS);
    assert_eq!(open(good), None, "{name}: the unchanged file is accepted");
    let mut n_accepted = 0;
    for run in 0..n_runs {
        let bytes = mutated(good, &mut Dice { run, n_thrown: 0 });
        let before = peak_kilobytes();
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open(&bytes)));
        match opened.unwrap_or_else(|_| panic!("{name}, run {run}: a panic")) {
            None => n_accepted += 1,
            Some(code) => assert!(matches!(code, 65 | 66 | 77), "{name}, run {run}: exit code {code}"),
        }
        // The kernel counts in batches, and may tell less than it did.
        let cost = peak_kilobytes().saturating_sub(before);
        assert!(cost < MAX_KILOBYTES, "{name}, run {run}: {cost} kB");
    }
    println!("{name}: {n_accepted} of {n_runs} changed files were accepted; at most {} kB", peak_kilobytes());
}

/// The most memory that this process has had; 0 where the system does not tell.
fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn refused_with(dir: &Path) -> Option<u8> {
    Checkpoint::open(dir, Runtime::default()).err().map(|error| error.exit_code())
}

#[test]
fn fault_51_changed_safetensors_are_opened_or_refused() {
    let folder = folder::Folder::new();
    let path = folder.path().join("model.safetensors");
    fuzz("safetensors", &fs::read(&path).unwrap(), |bytes| {
        fs::write(&path, bytes).unwrap();
        refused_with(folder.path())
    });
}

#[test]
fn fault_55_changed_configurations_are_read_or_refused() {
    let jsons = [
        r#"{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","vocab_size":300,"n_positions":16,"n_embd":8,
            "n_layer":2,"n_head":2,"n_inner":32,"layer_norm_epsilon":1e-05,"tie_word_embeddings":true,"bos_token_id":0}"#,
        r#"{"model_type":"gpt_neox","vocab_size":96,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,
            "intermediate_size":80,"hidden_act":"gelu","max_position_embeddings":48,"use_parallel_residual":true,
            "rope_parameters":{"partial_rotary_factor":0.25,"rope_theta":10000.0,"rope_type":"default"}}"#,
        r#"{"model_type":"llama","vocab_size":96,"hidden_size":32,"intermediate_size":72,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"max_position_embeddings":48,
            "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
            "original_max_position_embeddings":24}}"#,
    ];
    for json in jsons {
        fuzz("config.json", json.as_bytes(), |bytes| {
            let config = ModelConfig::parse(bytes);
            // What was read can be counted without overflow.
            config.as_ref().ok().map(ModelConfig::n_parameters);
            config.err().map(|error| error.exit_code())
        });
    }
}

#[test]
fn fault_58_changed_gguf_files_are_opened_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, path) = gguf::llama(dir.path(), GgmlDType::Q4_0);
    fuzz("GGUF", &fs::read(&path).unwrap(), |bytes| {
        fs::write(&path, bytes).unwrap();
        refused_with(&path)
    });
}

#[test]
fn fault_59_changed_tokenizers_are_read_or_refused() {
    let trained =
        Tokenizer::train(["the cat sat on the mat, and the cat sat still"].into_iter(), 270).unwrap();
    fuzz("tokenizer.json", &trained, |bytes| match Tokenizer::from_bytes(bytes) {
        Ok(tokenizer) => {
            let ids = tokenizer.encode("the cat \u{1f600}\0<|endoftext|> 1984");
            assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
            None
        }
        Err(error) => Some(error.exit_code()),
    });
}
