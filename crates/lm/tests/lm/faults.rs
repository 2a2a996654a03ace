//! What a model refuses: absurd configurations, tensors that do not fit, senseless requests.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use verbatim_lm::{
    Error, Gpt2, Gpt2Config, LanguageModel, SampleRequest, SamplingConfig, Scripted, Temperature,
};
use verbatim_store::{Progress, Silent};

fn config() -> Gpt2Config {
    let json = r#"{"vocab_size": 12, "n_positions": 10, "n_ctx": 10, "n_embd": 6, "n_layer": 2, "n_head": 3,
        "model_type": "gpt2"}"#;
    serde_json::from_str(json).unwrap()
}

fn tensors() -> HashMap<String, Tensor> {
    Gpt2::initial_tensors(&config(), 1).unwrap().into_iter().collect()
}

fn complaint(tensors: HashMap<String, Tensor>) -> String {
    let error = Gpt2::new(config(), tensors).unwrap_err();
    assert_eq!(error.exit_code(), 65);
    error.to_string()
}

#[test]
fn fault_55_absurd_configurations_are_refused_before_anything_is_allocated() {
    type Change = fn(&mut Gpt2Config);
    let changes: [(Change, &str); 11] = [
        (|c| c.n_head = 0, "n_head is 0, expected 1 to 1024"),
        (|c| c.n_head = 4, "n_embd is 6, which n_head 4 does not divide"),
        (|c| c.vocab_size = 1 << 31, "vocab_size is 2147483648, expected 1 to 16777216"),
        (|c| c.n_positions = 1 << 40, "n_positions is 1099511627776, expected 1 to 1048576"),
        (|c| c.n_layer = 0, "n_layer is 0, expected 1 to 1024"),
        (|c| c.n_embd = usize::MAX, "n_embd is 18446744073709551615, expected 1 to 65536"),
        (|c| c.n_inner = Some(0), "n_inner is 0, expected 1 to 1048576"),
        (|c| c.activation_function = "relu".into(), "activation_function is `relu`, expected `gelu_new`"),
        (|c| c.layer_norm_epsilon = 0.0, "layer_norm_epsilon is 0, expected more than 0 and less than 1"),
        (|c| c.attn_pdrop = 1.0, "attn_pdrop is 1, expected 0 to less than 1"),
        (|c| c.initializer_range = f64::NAN, "initializer_range is NaN, expected 0 to 10"),
    ];
    for (change, message) in changes {
        let mut config = config();
        change(&mut config);
        let error = Gpt2::initial_tensors(&config, 0).unwrap_err();
        assert_eq!(error.to_string(), format!("model configuration: {message}"));
        assert_eq!(error.exit_code(), 65);
        assert!(matches!(Gpt2::new(config, HashMap::new()), Err(Error::Config(_))));
    }
}

#[test]
fn fault_52_every_tensor_that_does_not_fit_is_named() {
    let mut broken = tensors();
    broken.remove("ln_f.bias");
    let c_attn = broken["h.0.attn.c_attn.weight"].t().unwrap();
    broken.insert("h.0.attn.c_attn.weight".to_owned(), c_attn);
    let wpe = broken["wpe.weight"].narrow(0, 0, 9).unwrap();
    broken.insert("wpe.weight".to_owned(), wpe);
    assert_eq!(
        complaint(broken),
        "the tensors do not fit the configuration: `wpe.weight`: expected shape [10, 6], got [9, 6]; \
         `h.0.attn.c_attn.weight` is transposed: expected shape [6, 18], got [18, 6]; \
         `ln_f.bias` is missing, expected shape [6]"
    );
}

#[test]
fn fault_53_weights_that_are_no_numbers_are_refused() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut broken = tensors();
        let bias = (broken["h.1.mlp.c_fc.bias"].zeros_like().unwrap() + value).unwrap();
        broken.insert("h.1.mlp.c_fc.bias".to_owned(), bias);
        assert!(complaint(broken).ends_with("`h.1.mlp.c_fc.bias` holds NaN or infinity"));
    }
    let mut integers = tensors();
    let bias = integers["ln_f.bias"].to_dtype(DType::U32).unwrap();
    integers.insert("ln_f.bias".to_owned(), bias);
    assert!(complaint(integers).ends_with("`ln_f.bias` holds U32, expected floating-point numbers"));
}

#[test]
fn prefixed_half_precision_and_superfluous_tensors_are_welcome() {
    let score = |tensors| Gpt2::new(config(), tensors).unwrap().score(&[vec![1, 2, 3]], 1, &Silent).unwrap();
    let half = |t: &Tensor| t.to_dtype(DType::F16).unwrap();
    let plain: HashMap<_, _> =
        tensors().iter().map(|(name, t)| (name.clone(), half(t).to_dtype(DType::F32).unwrap())).collect();
    let mut prefixed: HashMap<_, _> =
        tensors().iter().map(|(name, t)| (format!("transformer.{name}"), half(t))).collect();
    prefixed.insert("transformer.h.0.attn.bias".to_owned(), half(&tensors()["wpe.weight"]));
    prefixed.insert("lm_head.weight".to_owned(), half(&tensors()["wpe.weight"]));
    assert_eq!(score(plain), score(prefixed));
}

#[test]
fn an_untied_head_is_read_from_its_own_tensor() {
    let untied = Gpt2Config { tie_word_embeddings: false, ..config() };
    let error = Gpt2::new(untied.clone(), tensors()).unwrap_err().to_string();
    assert!(error.ends_with("`lm_head.weight` is missing, expected shape [12, 6]"));
    let mut with_head = tensors();
    let head = with_head["wte.weight"].zeros_like().unwrap();
    with_head.insert("lm_head.weight".to_owned(), head);
    let records = Gpt2::new(untied, with_head).unwrap().score(&[vec![1, 2]], 1, &Silent).unwrap();
    assert!((records[0][0].log_prob + 12f32.ln()).abs() < 1e-6, "a head of zeros knows nothing");
}

#[test]
fn initial_weights_follow_the_seed_and_the_published_deviations() {
    let config = Gpt2Config { n_embd: 60, ..config() };
    let first = Gpt2::initial_tensors(&config, 1).unwrap();
    let deviation = |name: &str| {
        let values = first[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
    };
    assert!((deviation("h.0.mlp.c_fc.weight") / 0.02 - 1.0).abs() < 0.03);
    assert!((deviation("h.1.mlp.c_proj.weight") / 0.01 - 1.0).abs() < 0.03, "0.02 / sqrt(2 * 2 layers)");
    assert_eq!((deviation("ln_f.weight"), deviation("h.1.mlp.c_proj.bias")), (1.0, 0.0));
    let values = |seed, name: &str| {
        Gpt2::initial_tensors(&config, seed).unwrap()[name].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(values(1, "h.0.mlp.c_fc.weight"), values(1, "h.0.mlp.c_fc.weight"));
    assert_ne!(values(1, "h.0.mlp.c_fc.weight"), values(2, "h.0.mlp.c_fc.weight"));
    assert_ne!(values(1, "h.0.mlp.c_fc.weight"), values(1, "h.1.mlp.c_fc.weight"));
    let n: usize = first.values().map(Tensor::elem_count).sum();
    assert_eq!(config.n_parameters(), n);
}

fn sampling() -> SamplingConfig {
    let temperature = Temperature::Fixed(1.0);
    SamplingConfig {
        max_new_tokens: 6,
        top_k: None,
        top_p: None,
        temperature,
        seed: 4,
        batch: 2,
        stop_token: None,
    }
}

fn request(index: u64, prompt: &[u32]) -> SampleRequest {
    SampleRequest { index, prompt: prompt.to_vec() }
}

#[test]
fn fault_65_senseless_requests_are_usage_errors() {
    let model = Scripted::new(8, 10);
    let decaying = |from| Temperature::Decaying { from, to: 1.0, over_tokens: 2 };
    let configs = [
        (SamplingConfig { max_new_tokens: 0, ..sampling() }, "max_new_tokens is 0, expected at least 1"),
        (SamplingConfig { batch: 0, ..sampling() }, "batch is 0, expected at least 1"),
        (
            SamplingConfig { top_k: Some(0), ..sampling() },
            "top_k is 0, expected 1 to 8, the size of the vocabulary",
        ),
        (
            SamplingConfig { top_k: Some(9), ..sampling() },
            "top_k is 9, expected 1 to 8, the size of the vocabulary",
        ),
        (SamplingConfig { top_p: Some(0.0), ..sampling() }, "top_p is 0, expected more than 0 and at most 1"),
        (
            SamplingConfig { top_p: Some(f32::NAN), ..sampling() },
            "top_p is NAN, expected more than 0 and at most 1",
        ),
        (
            SamplingConfig { stop_token: Some(8), ..sampling() },
            "stop_token is 8, outside the vocabulary of 8",
        ),
        (
            SamplingConfig { temperature: Temperature::Fixed(-1.0), ..sampling() },
            "temperature is Fixed(-1.0), expected 0 (greedy) or a positive number",
        ),
        (
            SamplingConfig { temperature: decaying(f32::NAN), ..sampling() },
            "temperature is Decaying { from: NaN, to: 1.0, over_tokens: 2 }, expected 0 (greedy) or a positive number",
        ),
    ];
    for (config, message) in configs {
        let error = model.sample(&[request(0, &[1])], &config, &Silent).unwrap_err();
        assert_eq!(error.to_string().to_lowercase(), message.to_lowercase());
        assert_eq!(error.exit_code(), 2);
    }
    let prompts: [(&[u32], &str); 3] = [
        (&[], "the prompt of sample 7 is empty; begin with the model's first token"),
        (&[1, 8], "the prompt of sample 7: token id 8 is outside the model's vocabulary of 8"),
        (&[1; 10], "the prompt of sample 7 has 10 tokens and leaves no room in the context of 10"),
    ];
    for (prompt, message) in prompts {
        let error = model.sample(&[request(7, prompt)], &sampling(), &Silent).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_sample_ends_at_the_end_of_the_context() {
    let samples =
        Scripted::new(8, 10).sample(&[request(0, &[1; 7]), request(1, &[1])], &sampling(), &Silent).unwrap();
    assert_eq!(samples.iter().map(|s| s.tokens.len()).collect::<Vec<_>>(), [3, 6]);
}

#[test]
fn a_sample_ends_before_the_stop_token() {
    let model = Scripted::new(8, 10).knows(vec![1, 2, 3, 4], 0.999);
    let config = SamplingConfig { temperature: Temperature::Fixed(0.0), stop_token: Some(4), ..sampling() };
    let samples = model.sample(&[request(0, &[1]), request(1, &[3])], &config, &Silent).unwrap();
    assert_eq!(samples[0].tokens, [2, 3]);
    assert_eq!(samples[1].tokens, [0u32; 0]);
    assert!(samples.iter().all(|sample| sample.error.is_none()));
}

#[test]
fn fault_64_broken_logits_end_one_sample_and_no_other() {
    let model =
        Scripted::new(8, 10).knows(vec![1, 2, 3], 0.999).knows(vec![5, 6, 7, 5], 0.999).breaks_after(3);
    let config = SamplingConfig { temperature: Temperature::Fixed(0.0), ..sampling() };
    let samples = model.sample(&[request(0, &[1]), request(1, &[5])], &config, &Silent).unwrap();
    let error = Some("the logits of token 2 hold NaN or infinity".to_owned());
    assert_eq!((&samples[0].tokens[..], &samples[0].error), (&[2, 3][..], &error));
    assert_eq!((&samples[1].tokens[..], &samples[1].error), (&[6, 7, 5, 6, 7, 5][..], &None));
}

struct Impatient;

impl Progress for Impatient {
    fn stage(&self, _name: &'static str, _total: Option<u64>, _unit: &'static str) {}
    fn advance(&self, _n: u64) {}
    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn an_interrupted_run_says_so() {
    let model = Scripted::new(8, 10);
    assert!(matches!(model.score(&[vec![1, 2]], 1, &Impatient), Err(Error::Interrupted)));
    assert!(matches!(model.sample(&[request(0, &[1])], &sampling(), &Impatient), Err(Error::Interrupted)));
}
