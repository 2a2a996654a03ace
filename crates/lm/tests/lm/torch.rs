//! The small random GPT-2 of `reference/make_reference.py`: everything that PyTorch `transformers` said of it.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use verbatim_lm::{
    Forward, Gpt2, Gpt2Config, LanguageModel, SampleRequest, SamplingConfig, Temperature, TokenRecord,
};
use verbatim_store::Silent;

#[derive(Deserialize)]
struct Reference {
    loss: f64,
    scored: Vec<Scored>,
    greedy: Vec<Greedy>,
    golden: Golden,
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

fn reference() -> Reference {
    serde_json::from_str(include_str!("../reference/reference.json")).unwrap()
}

fn weights() -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(include_bytes!("../reference/model.safetensors"), &Device::Cpu)
        .unwrap()
}

fn stored() -> HashMap<String, Tensor> {
    candle_core::safetensors::load_buffer(include_bytes!("../reference/reference.safetensors"), &Device::Cpu)
        .unwrap()
}

pub(crate) fn config() -> Gpt2Config {
    serde_json::from_str(include_str!("../reference/config.json")).unwrap()
}

pub(crate) fn model() -> Gpt2 {
    Gpt2::new(config(), weights()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn max_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn logits_agree_on_both_paths() {
    let (model, stored) = (model(), stored());
    let (ids, expected) = (&stored["batch"], &stored["logits"]);
    let trained = model.forward_train(ids, None).unwrap();
    let inferred = model.head(&model.hidden(ids, None).unwrap()).unwrap().reshape(expected.shape()).unwrap();
    for (path, logits) in [("training", trained), ("inference", inferred)] {
        let difference = max_difference(&logits, expected);
        println!("largest difference of logits from torch, {path}: {difference:e}");
        assert!(difference < 1e-4, "{path}: {difference}");
    }
}

#[test]
fn logits_agree_token_by_token_with_the_cache() {
    let (model, stored) = (model(), stored());
    let (ids, expected) = (&stored["batch"], &stored["logits"]);
    let (b, t) = ids.dims2().unwrap();
    let mut cache = model.new_cache(b, t).unwrap();
    // Seven tokens at once, then one by one, then the rest at once.
    for (start, len) in [(0, 7), (7, 1), (8, 1), (9, 8)] {
        let rows = model.hidden(&ids.narrow(1, start, len).unwrap(), Some(&mut cache)).unwrap();
        let logits = model.head(&rows).unwrap().reshape((b, len, 96)).unwrap();
        assert!(max_difference(&logits, &expected.narrow(1, start, len).unwrap()) < 1e-4);
    }
}

#[test]
fn loss_and_gradients_agree() {
    let stored = stored();
    let vars: HashMap<String, Var> =
        weights().into_iter().map(|(name, t)| (name, Var::from_tensor(&t).unwrap())).collect();
    let tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    let model = Gpt2::new(config(), tensors).unwrap();
    let ids = &stored["batch"];
    let logits = model.forward_train(&ids.narrow(1, 0, 16).unwrap(), None).unwrap().flatten_to(1).unwrap();
    let targets = ids.narrow(1, 1, 16).unwrap().flatten_all().unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &targets).unwrap();
    assert!((f64::from(loss.to_scalar::<f32>().unwrap()) - reference().loss).abs() < 1e-5);
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
    let scored = reference().scored;
    let texts: Vec<Vec<u32>> = scored.iter().map(|text| text.tokens.clone()).collect();
    let records = model().score(&texts, 3, &Silent).unwrap();
    let mut largest = 0.0f64;
    for (text, records) in scored.iter().zip(&records) {
        assert_eq!(records.len(), text.records.len());
        for (at, (record, expected)) in records.iter().zip(&text.records).enumerate() {
            assert_eq!(record.token, text.tokens[at + 1]);
            largest = largest.max(assert_close(record, expected, 1e-4));
        }
    }
    println!("largest difference of a record from numpy over torch's logits: {largest:e}");
}

#[test]
fn the_golden_record_comes_from_numpy() {
    let golden = reference().golden;
    for row in golden.rows {
        let record = TokenRecord::from_logits(&golden.logits, row.token).unwrap();
        assert_close(&record, &row.record, 1e-6);
    }
}

#[test]
fn greedy_continuations_are_those_of_generate() {
    let greedy = reference().greedy;
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
    let samples = model().sample(&requests, &config, &Silent).unwrap();
    for (sample, expected) in samples.iter().zip(&greedy) {
        assert_eq!(sample.tokens, expected.tokens);
        assert_eq!(sample.error, None);
    }
}
