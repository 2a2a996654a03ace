//! The small random models of `reference/make_reference.py`: everything that PyTorch `transformers` said of them, asked
//! of the readable models and of the engine with each of its kernels.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use verbatim_lm::{
    CpuEngine, Forward, Gpt2, Gpt2Config, GptNeox, Kernel, LanguageModel, Llama, ModelConfig, Run,
    SampleRequest, SamplingConfig, Temperature, TokenRecord, WeightType,
};
use verbatim_store::Silent;

#[derive(Deserialize)]
struct Reference {
    loss: Option<f64>,
    scored: Vec<Scored>,
    greedy: Vec<Greedy>,
    golden: Option<Golden>,
}

#[derive(Deserialize)]
struct Scored {
    tokens: Vec<u32>,
    records: Vec<[f64; 5]>,
}

#[derive(Deserialize)]
struct Greedy {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

#[derive(Deserialize)]
struct Golden {
    logits: Vec<f32>,
    rows: Vec<GoldenRow>,
}

#[derive(Deserialize)]
struct GoldenRow {
    token: u32,
    record: [f64; 5],
}

/// A model of the script's.
struct Case {
    name: &'static str,
    config: &'static str,
    weights: &'static [u8],
    stored: &'static [u8],
    reference: &'static str,
}

macro_rules! case {
    ($name:literal) => {
        Case {
            name: $name,
            config: include_str!(concat!("../reference/", $name, "/config.json")),
            weights: include_bytes!(concat!("../reference/", $name, "/model.safetensors")),
            stored: include_bytes!(concat!("../reference/", $name, "/reference.safetensors")),
            reference: include_str!(concat!("../reference/", $name, "/reference.json")),
        }
    };
}

const GPT2: Case = case!("gpt2");
const CASES: [Case; 5] =
    [GPT2, case!("gpt_neox"), case!("gpt_neox_sequential"), case!("llama"), case!("llama_stretched")];

impl Case {
    fn config(&self) -> ModelConfig {
        ModelConfig::parse(self.config.as_bytes()).unwrap()
    }

    fn weights(&self) -> HashMap<String, Tensor> {
        let weights = candle_core::safetensors::load_buffer(self.weights, &Device::Cpu).unwrap();
        let wide = |t: Tensor| if t.dtype().is_float() { t.to_dtype(DType::F32).unwrap() } else { t };
        weights.into_iter().map(|(name, t)| (name, wide(t))).collect()
    }

    fn stored(&self) -> HashMap<String, Tensor> {
        candle_core::safetensors::load_buffer(self.stored, &Device::Cpu).unwrap()
    }

    fn reference(&self) -> Reference {
        serde_json::from_str(self.reference).unwrap()
    }

    fn engine(&self, kernel: Kernel) -> CpuEngine {
        CpuEngine::new(&self.config(), self.weights(), kernel, WeightType::F32).unwrap()
    }

    /// The readable model and the engine with all of this machine's kernels, by name.
    fn models(&self) -> Vec<(String, Box<dyn LanguageModel>)> {
        let mut models = vec![("readable".to_owned(), self.config().readable(self.weights()).unwrap())];
        for kernel in kernels() {
            models.push((kernel.name().to_owned(), Box::new(self.engine(kernel))));
        }
        models
    }
}

/// The kernels that this machine has.
pub(crate) fn kernels() -> Vec<Kernel> {
    ["avx512", "avx2", "portable"].iter().filter_map(|name| name.parse().ok()).collect()
}

pub(crate) fn config() -> Gpt2Config {
    serde_json::from_str(GPT2.config).unwrap()
}

pub(crate) fn model() -> Gpt2 {
    Gpt2::new(config(), GPT2.weights()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn max_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// (B, T, V) logits of a batch that goes in by runs of these lengths.
fn logits_by_runs<M: Forward>(model: &M, ids: &Tensor, lens: &[usize]) -> Tensor {
    let rows: Vec<Vec<u32>> = ids.to_vec2().unwrap();
    let mut cache = model.new_cache(rows.len(), rows[0].len()).unwrap();
    let mut logits = model.new_logits();
    let mut parts = Vec::new();
    let mut start = 0;
    for len in lens {
        let runs: Vec<Run<'_>> = rows
            .iter()
            .enumerate()
            .map(|(slot, row)| Run { slot, tokens: &row[start..start + len] })
            .collect();
        let states = model.hidden(&runs, &mut cache).unwrap();
        let all: Vec<usize> = (0..rows.len() * len).collect();
        model.logits(&states, &all, &mut logits).unwrap();
        let values: Vec<f32> = logits.rows().flat_map(|row| row.to_vec()).collect();
        let shape = (rows.len(), *len, model.vocab_size());
        parts.push(Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        start += len;
    }
    Tensor::cat(&parts, 1).unwrap()
}

fn check_logits<M: Forward>(case: &Case, path: &str, model: &M) {
    let stored = case.stored();
    // At once; seven tokens at once, then one by one, then the rest.
    for lens in [&[17][..], &[7, 1, 1, 8]] {
        let difference = max_difference(&logits_by_runs(model, &stored["batch"], lens), &stored["logits"]);
        println!("{}: largest difference of logits from torch, {path}: {difference:e}", case.name);
        assert!(difference < 1e-4, "{} {path}: {difference}", case.name);
    }
}

#[test]
fn logits_agree_at_once_and_token_by_token() {
    let trained = model().forward_train(&GPT2.stored()["batch"], None).unwrap();
    assert!(max_difference(&trained, &GPT2.stored()["logits"]) < 1e-4);
    for case in CASES {
        match case.config() {
            ModelConfig::Gpt2(config) => {
                check_logits(&case, "readable", &Gpt2::new(config, case.weights()).unwrap());
            }
            ModelConfig::GptNeox(config) => {
                check_logits(&case, "readable", &GptNeox::new(config, &case.weights()).unwrap());
            }
            ModelConfig::Llama(config) => {
                check_logits(&case, "readable", &Llama::new(config, &case.weights()).unwrap());
            }
        }
        for kernel in kernels() {
            check_logits(&case, kernel.name(), &case.engine(kernel));
        }
    }
}

#[test]
fn loss_and_gradients_agree() {
    let stored = GPT2.stored();
    let vars: HashMap<String, Var> =
        GPT2.weights().into_iter().map(|(name, t)| (name, Var::from_tensor(&t).unwrap())).collect();
    let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let model = Gpt2::new(config(), tensors).unwrap();
    let ids = &stored["batch"];
    let logits = model.forward_train(&ids.narrow(1, 0, 16).unwrap(), None).unwrap().flatten_to(1).unwrap();
    let targets = ids.narrow(1, 1, 16).unwrap().flatten_all().unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &targets).unwrap();
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - GPT2.reference().loss.unwrap()).abs() < 1e-5);
    let gradients = loss.backward().unwrap();
    let mut checked = 0;
    for (key, expected) in BTreeMap::from_iter(&stored) {
        let Some(name) = key.strip_prefix("gradient.") else { continue };
        let gradient = gradients.get(vars[&format!("transformer.{name}")].as_tensor()).unwrap();
        let difference = max_difference(gradient, expected);
        println!("largest difference of the gradient of {name} from torch: {difference:e}");
        assert!(difference < 1e-5, "{name}: {difference}");
        checked += 1;
    }
    assert_eq!(checked, 10);
}

fn assert_close(record: &TokenRecord, expected: &[f64; 5], tolerance: f64) -> f64 {
    let numbers = [record.log_prob, record.mean_log_prob, record.std_log_prob, record.entropy];
    let differences = numbers.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs());
    let largest = differences.fold(0.0, f64::max);
    assert!(largest < tolerance, "{record:?} against {expected:?}");
    assert_eq!(f64::from(record.rank), expected[4], "{record:?} against {expected:?}");
    largest
}

#[test]
fn records_agree() {
    for case in CASES {
        let scored = case.reference().scored;
        let texts: Vec<Vec<u32>> = scored.iter().map(|text| text.tokens.clone()).collect();
        for (path, model) in case.models() {
            let records = model.score(&texts, 3, &Silent).unwrap();
            let mut largest = 0.0f64;
            for (text, records) in scored.iter().zip(&records) {
                assert_eq!(records.len(), text.records.len());
                for (at, (record, expected)) in records.iter().zip(&text.records).enumerate() {
                    assert_eq!(record.token, text.tokens[at + 1]);
                    largest = largest.max(assert_close(record, expected, 1e-4));
                }
            }
            println!("{} {path}: largest difference of a record from numpy: {largest:e}", case.name);
        }
    }
}

#[test]
fn the_golden_record_comes_from_numpy() {
    let golden = GPT2.reference().golden.unwrap();
    for row in golden.rows {
        let record = TokenRecord::from_logits(&golden.logits, row.token).unwrap();
        assert_close(&record, &row.record, 1e-6);
    }
}

#[test]
fn greedy_continuations_are_those_of_generate() {
    for case in CASES {
        let greedy = case.reference().greedy;
        let requests: Vec<SampleRequest> =
            (0..).zip(&greedy).map(|(index, g)| SampleRequest { index, prompt: g.prompt.clone() }).collect();
        let config = SamplingConfig {
            max_new_tokens: 24,
            top_k: None,
            top_p: None,
            temperature: Temperature::Fixed(0.0),
            seed: 0,
            batch: 2,
            stop_token: None,
        };
        for (path, model) in case.models() {
            let samples = model.sample(&requests, &config, &Silent).unwrap();
            for (sample, expected) in samples.iter().zip(&greedy) {
                assert_eq!(sample.tokens, expected.tokens, "{} {path}", case.name);
                assert_eq!(sample.error, None);
            }
        }
    }
}
