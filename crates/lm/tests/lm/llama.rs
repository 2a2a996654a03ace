//! The scoring and sampling code over a model that is not ours: candle-transformers' Llama.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use serde::Deserialize;
use verbatim_lm::{Forward, LanguageModel, Result, SampleRequest, SamplingConfig, Temperature, TokenRecord};
use verbatim_store::Silent;

struct Llama {
    config: llama::Config,
    model: llama::Llama,
}

impl Llama {
    fn new(config: &str, tensors: HashMap<String, Tensor>) -> Self {
        let config: llama::LlamaConfig = serde_json::from_str(config).unwrap();
        let config = config.into_config(false);
        let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        Self { model: llama::Llama::load(builder, &config).unwrap(), config }
    }

    fn cache(&self, use_kv_cache: bool) -> llama::Cache {
        llama::Cache::new(use_kv_cache, DType::F32, &self.config, &Device::Cpu).unwrap()
    }

    /// Candle's own answer: the whole prefix in one pass, no cache, the last position's logits.
    fn logits_after(&self, prefix: &[u32]) -> Vec<f32> {
        let ids = Tensor::new(prefix, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        self.model.forward(&ids, 0, &mut self.cache(false)).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

impl Forward for Llama {
    type Cache = (llama::Cache, usize);

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn context_len(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn bos(&self) -> Option<u32> {
        self.config.bos_token_id
    }

    fn new_cache(&self, _batch: usize, _capacity: usize) -> Result<Self::Cache> {
        Ok((self.cache(true), 0))
    }

    /// Candle's Llama returns the last position only, so positions go in one by one; states are logits.
    fn hidden(&self, ids: &Tensor, cache: Option<&mut Self::Cache>) -> Result<Tensor> {
        let mut fresh = (self.cache(true), 0);
        let (cache, seen) = cache.unwrap_or(&mut fresh);
        let mut logits = Vec::new();
        for at in 0..ids.dim(1)? {
            logits.push(self.model.forward(&ids.narrow(1, at, 1)?, *seen, cache)?); // (B, V)
            *seen += 1;
        }
        Ok(Tensor::stack(&logits, 1)?.flatten_to(1)?) // (B * T, V)
    }

    fn head(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(rows.clone())
    }
}

/// Any deterministic numbers will do; `salt` keeps tensors apart.
fn noise(shape: &[usize], salt: usize, scale: f32) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|i| (((i + 1) * (2 * salt + 1) * 7919 % 10_007) as f32 / 10_007.0 - 0.5) * scale)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn tiny() -> Llama {
    let config = r#"{"hidden_size": 16, "intermediate_size": 24, "vocab_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "bos_token_id": 1, "max_position_embeddings": 64, "tie_word_embeddings": true}"#;
    let mut shapes =
        vec![("model.embed_tokens".to_owned(), vec![40, 16]), ("model.norm".to_owned(), vec![16])];
    for layer in 0..2 {
        for (name, shape) in [
            ("self_attn.q_proj", vec![16, 16]),
            ("self_attn.k_proj", vec![8, 16]),
            ("self_attn.v_proj", vec![8, 16]),
            ("self_attn.o_proj", vec![16, 16]),
            ("mlp.gate_proj", vec![24, 16]),
            ("mlp.up_proj", vec![24, 16]),
            ("mlp.down_proj", vec![16, 24]),
            ("input_layernorm", vec![16]),
            ("post_attention_layernorm", vec![16]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}"), shape));
        }
    }
    let tensors = shapes
        .iter()
        .enumerate()
        .map(|(salt, (name, shape))| (format!("{name}.weight"), noise(shape, salt, 1.5)));
    Llama::new(config, tensors.collect())
}

fn greedy(max_new_tokens: usize, batch: usize) -> SamplingConfig {
    let temperature = Temperature::Fixed(0.0);
    SamplingConfig { max_new_tokens, top_k: None, top_p: None, temperature, seed: 0, batch, stop_token: None }
}

#[test]
fn scores_are_those_of_a_direct_loop() {
    let model = tiny();
    let texts: Vec<Vec<u32>> =
        [9u32, 2, 17, 31].map(|n| (0..n).map(|t| (t * t * 5 + n) % 40).collect()).to_vec();
    let records = model.score(&texts, 3, &Silent).unwrap();
    for (text, records) in texts.iter().zip(&records) {
        for (at, record) in (1..).zip(records) {
            let direct = TokenRecord::from_logits(&model.logits_after(&text[..at]), text[at]).unwrap();
            assert_eq!((record.token, record.rank), (direct.token, direct.rank));
            assert!((record.log_prob - direct.log_prob).abs() < 1e-4, "{record:?} against {direct:?}");
            assert!((record.std_log_prob - direct.std_log_prob).abs() < 1e-4);
        }
    }
}

fn naive_greedy(model: &Llama, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    for _ in 0..n {
        let logits = model.logits_after(&tokens);
        let best = (0..logits.len()).rev().max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        tokens.push(best as u32);
    }
    tokens.split_off(prompt.len())
}

#[test]
fn greedy_tokens_are_those_of_a_direct_loop() {
    let model = tiny();
    let prompts = [vec![1], vec![7, 30, 2], vec![1, 12, 13], vec![39]];
    let requests: Vec<SampleRequest> =
        (0..).zip(prompts).map(|(index, prompt)| SampleRequest { index, prompt }).collect();
    for sample in model.sample(&requests, &greedy(25, 2), &Silent).unwrap() {
        assert_eq!(sample.tokens, naive_greedy(&model, &sample.prompt, 25));
    }
}

#[derive(Deserialize)]
struct GreedyReference {
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
}

/// A real Llama of 260 thousand parameters; its greedy tokens were computed by an independent numpy program.
#[test]
fn the_stories_model_tells_the_story_that_numpy_tells() {
    let Some(data) = std::env::var_os("VERBATIM_DATA") else {
        eprintln!("SKIPPED: the_stories_model_tells_the_story_that_numpy_tells; set VERBATIM_DATA");
        return;
    };
    let folder = PathBuf::from(data).join("models/stories260K");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let model = Llama::new(&read("config.json"), tensors);
    let reference: GreedyReference = serde_json::from_str(&read("greedy_reference.json")).unwrap();
    let expected = &reference.greedy_ids[reference.prompt_ids.len()..];
    let request = SampleRequest { index: 0, prompt: reference.prompt_ids.clone() };
    let samples = model.sample(&[request], &greedy(expected.len(), 1), &Silent).unwrap();
    assert_eq!(samples[0].tokens, expected);
    let records = model.score(std::slice::from_ref(&reference.greedy_ids), 1, &Silent).unwrap();
    assert!(records[0].iter().all(|record| record.rank == 0), "greedy tokens are the model's first choices");
}
