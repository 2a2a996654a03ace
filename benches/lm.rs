//! Language models: the engine beside candle's readable model, beside one large matrix product and beside the memory that a
//! token must touch at least; training by hand beside candle's graph. Weights are random, of GPT-2 124M's shape.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor, Var};
use rayon::prelude::*;
use verbatim_lm::{
    CpuEngine, Gpt2, Gpt2Config, Gpt2Gradient, Kernel, LanguageModel, ModelConfig, Parameters, SampleRequest,
    SamplingConfig, Temperature, WeightType,
};
use verbatim_store::Silent;

use crate::{N_RUNS, Run, medians};

/// Tokens drawn for each sample.
const N_NEW: usize = 64;
/// Texts that are scored, and their tokens.
const SCORED: (usize, usize) = (8, 256);
/// Rows, depth and columns of the product by which the peak is measured.
const PEAK: [usize; 3] = [2048, 768, 3072];

fn config(json: &str) -> Gpt2Config {
    serde_json::from_str(json).expect("a configuration")
}

fn tensors(config: &Gpt2Config) -> HashMap<String, Tensor> {
    Gpt2::initial_tensors(config, 1).expect("sizes that are not absurd").into_iter().collect()
}

fn draw(model: &dyn LanguageModel, batch: usize) -> usize {
    let prompt = |index: u64| (0..8).map(|t| (t * 7919 + index as u32 * 13) % 50_257).collect();
    let requests: Vec<SampleRequest> =
        (0..batch as u64).map(|index| SampleRequest { index, prompt: prompt(index) }).collect();
    let config = SamplingConfig {
        max_new_tokens: N_NEW,
        top_k: Some(40),
        top_p: None,
        temperature: Temperature::Fixed(1.0),
        seed: 1,
        batch,
        stop_token: None,
    };
    let samples = model.sample(&requests, &config, &Silent).expect("samples");
    samples.iter().map(|sample| sample.tokens.len()).sum()
}

fn score(model: &dyn LanguageModel) -> usize {
    let token = |text: u32, at: u32| (at * at * 31 + text * 7919 + at) % 50_257;
    let texts: Vec<Vec<u32>> =
        (0..SCORED.0 as u32).map(|text| (0..=SCORED.1 as u32).map(|at| token(text, at)).collect()).collect();
    model.score(&texts, SCORED.0, &Silent).expect("records").iter().map(Vec::len).sum()
}

#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
pub(crate) fn run(_: &Path, _: &Path) {
    println!("\nlanguage models, {N_RUNS} runs each in turns, {} threads", rayon::current_num_threads());
    let shape =
        config(r#"{"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}"#);
    let engine = |weight_type| {
        let config = ModelConfig::Gpt2(shape.clone());
        CpuEngine::new(&config, tensors(&shape), Kernel::default(), weight_type).expect("a model")
    };
    let (f32, bf16) = (engine(WeightType::F32), engine(WeightType::Bf16));
    let candle = Gpt2::new(shape.clone(), tensors(&shape)).expect("a model");
    let (peak, bandwidth) = (peak(), bandwidth());
    // The head's products with the others'; attention is a fiftieth at this length.
    let n_multiplied = shape.n_parameters() - shape.n_positions * shape.n_embd;
    println!("  one product of {PEAK:?}: {:.0} GFLOP/s", peak / 1e9);
    println!("  one sum of 512 MB: {:.1} GB/s", bandwidth / 1e9);
    println!("  {:24} {:>10} {:>10} {:>10}", "tokens a second", "f32", "bf16", "candle");
    for batch in [1, 8, 32, 64] {
        let runs: [Run<'_>; 3] = [
            ("f32", &|| draw(&f32, batch)),
            ("bf16", &|| draw(&bf16, batch)),
            ("candle", &|| draw(&candle, batch)),
        ];
        let [a, b, c] = medians(&runs)[..] else { continue };
        let rate = |seconds: f64| (batch * N_NEW) as f64 / seconds;
        println!("  draw, batch {batch:<12} {:10.1} {:10.1} {:10.1}", rate(a), rate(b), rate(c));
        if batch == 1 {
            let read = |bytes: usize, seconds: f64| (n_multiplied * bytes) as f64 * rate(seconds);
            let (a, b) = (read(4, a), read(2, b));
            println!("    weights read, GB/s     {:10.1} {:10.1}", a / 1e9, b / 1e9);
            println!("    of the bandwidth       {:10.2} {:10.2}", a / bandwidth, b / bandwidth);
        }
    }
    let runs: [Run<'_>; 3] =
        [("f32", &|| score(&f32)), ("bf16", &|| score(&bf16)), ("candle", &|| score(&candle))];
    if let [a, b, c] = medians(&runs)[..] {
        let rate = |seconds: f64| (SCORED.0 * SCORED.1) as f64 / seconds;
        println!("  score, 8 texts of 256    {:10.1} {:10.1} {:10.1}", rate(a), rate(b), rate(c));
        let of_peak = |seconds: f64| 2.0 * n_multiplied as f64 * rate(seconds) / peak;
        println!("    of the product's peak  {:10.2} {:10.2} {:10.2}", of_peak(a), of_peak(b), of_peak(c));
    }
    train();
}

/// Floating-point operations a second in one large product by candle (gemm with AVX-512), the best of twenty.
fn peak() -> f64 {
    let [r, k, n] = PEAK;
    let random = |shape: (usize, usize)| Tensor::rand(-1f32, 1.0, shape, &Device::Cpu).expect("memory");
    let (a, b) = (random((r, k)), random((k, n)));
    let seconds = (0..20).map(|_| {
        let start = Instant::now();
        black_box(a.matmul(&b).expect("fitting shapes"));
        start.elapsed().as_secs_f64()
    });
    2.0 * (r * k * n) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// Bytes a second in one sum of what fits no cache, by all threads, the best of twenty. Each reads four streams, to which the
/// memory gives more than to one.
fn bandwidth() -> f64 {
    let numbers = vec![1u64; 64 << 20];
    let sum = |part: &[u64]| {
        let lines = part.as_chunks::<16>().0;
        let mut sums = [0u64; 16];
        let quarters = lines.chunks(lines.len() / 4).collect::<Vec<_>>();
        for at in 0..lines.len() / 4 {
            for quarter in &quarters {
                sums.iter_mut().zip(&quarter[at]).for_each(|(sum, x)| *sum = sum.wrapping_add(*x));
            }
        }
        sums.iter().fold(0u64, |sum, x| sum.wrapping_add(*x))
    };
    let seconds = (0..20).map(|_| {
        let start = Instant::now();
        black_box(numbers.par_chunks(1 << 20).map(sum).reduce(|| 0, u64::wrapping_add));
        start.elapsed().as_secs_f64()
    });
    size_of_val(&numbers[..]) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

/// One gradient of 16 rows of 128 tokens, of a model of 0.84 million parameters.
#[expect(clippy::print_stdout, reason = "a bench talks to the terminal")]
fn train() {
    let shape = config(
        r#"{"vocab_size": 256, "n_positions": 128, "n_embd": 128, "n_layer": 4, "n_head": 4,
        "embd_pdrop": 0, "attn_pdrop": 0, "resid_pdrop": 0}"#,
    );
    let rows: Vec<Vec<u32>> =
        (0..16).map(|row| (0..129).map(|at| (at * at * 31 + row * 7919 + at) % 256).collect()).collect();
    let variables: HashMap<String, Var> = tensors(&shape)
        .into_iter()
        .map(|(name, tensor)| (name, Var::from_tensor(&tensor).expect("a tensor")))
        .collect();
    let graph = Gpt2::new(
        shape.clone(),
        variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect(),
    )
    .expect("a model");
    let inputs: Vec<u32> = rows.iter().flat_map(|row| &row[..128]).copied().collect();
    let targets: Vec<u32> = rows.iter().flat_map(|row| &row[1..]).copied().collect();
    let by_candle = || -> candle_core::Result<usize> {
        let inputs = Tensor::from_slice(&inputs, (16, 128), &Device::Cpu)?;
        let targets = Tensor::from_slice(&targets, 2048, &Device::Cpu)?;
        let logits = graph.forward_train(&inputs, None).expect("a fitting batch").flatten_to(1)?;
        let loss = candle_nn::loss::cross_entropy(&logits, &targets)?;
        let gradients = loss.backward()?;
        Ok(gradients.get_ids().count())
    };
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
    let parameters: Parameters = variables
        .iter()
        .map(|(name, var)| (name.clone(), values(var.as_tensor()).expect("numbers")))
        .collect();
    let by_hand = |n_rows: usize| {
        let mut model = Gpt2Gradient::new(shape.clone(), Kernel::default()).expect("a configuration");
        let mut sums: Parameters =
            parameters.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
        // Ten steps, since the buffers are made in the first.
        for _ in 0..10 {
            model.load(&parameters);
            for rows in rows.chunks(n_rows) {
                sums.values_mut().for_each(|sum| sum.fill(0.0));
                model
                    .add_gradient(&parameters, rows, (1.0 / 2048.0, None), &mut sums)
                    .expect("a fitting batch");
                let norm: f64 = sums.values().flatten().map(|x| f64::from(*x).powi(2)).sum();
                black_box(norm.sqrt());
            }
        }
        sums.len()
    };
    let runs: [Run<'_>; 3] = [
        ("by hand", &|| by_hand(16)),
        ("row by row", &|| by_hand(1)),
        ("candle", &|| by_candle().expect("a gradient of a loss")),
    ];
    if let [hand, rows, candle] = medians(&runs)[..] {
        let [hand, rows, candle] = [20_480.0 / hand, 20_480.0 / rows, 2048.0 / candle];
        println!(
            "  gradient, 0.84M weights: {hand:.0} tokens a second by hand ({rows:.0} with the norm of each row's), \
             {candle:.0} by candle's graph"
        );
    }
}
