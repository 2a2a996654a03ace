//! Our Llama against candle-transformers', and against a real small model.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use serde::Deserialize;
use verbatim_lm::{
    CpuEngine, Dtype, Kernel, ModelConfig, Runtime, SampleRequest, SamplingConfig, Temperature, TokenRecord,
    WeightType,
};
use verbatim_store::Silent;

/// Any deterministic numbers will do; `salt` keeps tensors apart.
fn noise(shape: &[usize], salt: usize, scale: f32) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|i| (((i + 1) * (2 * salt + 1) * 7919 % 10_007) as f32 / 10_007.0 - 0.5) * scale)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

const CONFIG: &str = r#"{"hidden_size": 16, "intermediate_size": 24, "vocab_size": 40, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "bos_token_id": 1, "max_position_embeddings": 64, "tie_word_embeddings": true, "model_type": "llama"}"#;

fn tensors() -> HashMap<String, Tensor> {
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
    let tensor = |(salt, (name, shape)): (usize, &(String, Vec<usize>))| {
        (format!("{name}.weight"), noise(shape, salt, 1.5))
    };
    shapes.iter().enumerate().map(tensor).collect()
}

/// Candle's own answer: the whole prefix in one pass, no cache, the last position's logits.
fn logits_after(model: &llama::Llama, config: &llama::Config, prefix: &[u32]) -> Vec<f32> {
    let ids = Tensor::new(prefix, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let mut cache = llama::Cache::new(false, DType::F32, config, &Device::Cpu).unwrap();
    model.forward(&ids, 0, &mut cache).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn scores_are_those_of_candles_llama() {
    let theirs: llama::LlamaConfig = serde_json::from_str(CONFIG).unwrap();
    let theirs = theirs.into_config(false);
    let builder = VarBuilder::from_tensors(tensors(), DType::F32, &Device::Cpu);
    let oracle = llama::Llama::load(builder, &theirs).unwrap();
    let config = ModelConfig::parse(CONFIG.as_bytes()).unwrap();
    let engine = CpuEngine::new(&config, tensors(), Kernel::default(), WeightType::F32).unwrap();
    let models = [config.readable(tensors()).unwrap(), Box::new(engine)];
    let texts: Vec<Vec<u32>> =
        [9u32, 2, 17, 31].map(|n| (0..n).map(|t| (t * t * 5 + n) % 40).collect()).to_vec();
    for model in &models {
        for (text, records) in texts.iter().zip(&model.score(&texts, 3, &Silent).unwrap()) {
            for (at, record) in (1..).zip(records) {
                let logits = logits_after(&oracle, &theirs, &text[..at]);
                let direct = TokenRecord::from_logits(&logits, text[at]).unwrap();
                assert_eq!((record.token, record.rank), (direct.token, direct.rank));
                assert!((record.log_prob - direct.log_prob).abs() < 1e-4, "{record:?} against {direct:?}");
                assert!((record.std_log_prob - direct.std_log_prob).abs() < 1e-4);
            }
        }
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
    let config = ModelConfig::parse(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let tensors = || candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let reference = std::fs::read_to_string(folder.join("greedy_reference.json")).unwrap();
    let reference: GreedyReference = serde_json::from_str(&reference).unwrap();
    let expected = &reference.greedy_ids[reference.prompt_ids.len()..];
    let request = SampleRequest { index: 0, prompt: reference.prompt_ids.clone() };
    let greedy = SamplingConfig {
        max_new_tokens: expected.len(),
        top_k: None,
        top_p: None,
        temperature: Temperature::Fixed(0.0),
        seed: 0,
        batch: 1,
        stop_token: None,
    };
    let bf16 = Runtime { dtype: Dtype::Bf16, ..Runtime::default() };
    for (runtime, n_equal) in [(Runtime::default(), expected.len()), (bf16, 0)] {
        let model = runtime.load(&config, tensors()).unwrap();
        let sample = &model.sample(std::slice::from_ref(&request), &greedy, &Silent).unwrap()[0];
        let common = sample.tokens.iter().zip(expected).take_while(|(a, b)| a == b).count();
        println!("{runtime:?}: {common} of {} greedy tokens are numpy's", expected.len());
        assert!(common >= n_equal);
        let records = model.score(std::slice::from_ref(&reference.greedy_ids), 1, &Silent).unwrap();
        assert!(n_equal == 0 || records[0].iter().all(|record| record.rank == 0));
    }
    let readable = config.readable(tensors()).unwrap();
    assert_eq!(readable.sample(&[request], &greedy, &Silent).unwrap()[0].tokens, expected);
}
