//! Gradients against finite differences, for every parameter tensor.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor, Var};
use verbatim_lm::{Dropout, Forward, Gpt2, Gpt2Config, Gpt2Gradient, Parameters, Run};

fn config() -> Gpt2Config {
    let json = r#"{"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2,
        "initializer_range": 0.4, "embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.1}"#;
    serde_json::from_str(json).unwrap()
}

fn batch() -> (Tensor, Tensor) {
    let inputs = Tensor::new(&[[1u32, 5, 7, 2, 10, 3], [4, 4, 0, 9, 1, 1]], &Device::Cpu).unwrap();
    let targets = Tensor::new(&[5u32, 7, 2, 10, 3, 8, 4, 0, 9, 1, 1, 6], &Device::Cpu).unwrap();
    (inputs, targets)
}

fn loss(logits: &Tensor, targets: &Tensor) -> Tensor {
    let logits = logits.flatten_to(logits.rank() - 2).unwrap();
    candle_nn::loss::cross_entropy(&logits, targets).unwrap()
}

fn loss_of(tensors: HashMap<String, Tensor>, dropout: Option<&Dropout>) -> Tensor {
    let (inputs, targets) = batch();
    loss(&Gpt2::new(config(), tensors).unwrap().forward_train(&inputs, dropout).unwrap(), &targets)
}

fn variables(dtype: DType) -> BTreeMap<String, Var> {
    let tensors = Gpt2::initial_tensors(&config(), 3).unwrap();
    tensors
        .into_iter()
        .map(|(name, t)| (name, Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap()))
        .collect()
}

fn tensors(variables: &BTreeMap<String, Var>) -> HashMap<String, Tensor> {
    variables.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
}

/// The loss and its gradient as they are written out by hand, in two parts of one row each.
fn by_hand(dropout: Option<&Dropout>, kernel: &str) -> (f64, Parameters) {
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let parameters: Parameters =
        variables(DType::F32).iter().map(|(name, var)| (name.clone(), values(var.as_tensor()))).collect();
    let mut gradients: Parameters =
        parameters.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
    let (inputs, targets) = batch();
    let (inputs, targets): (Vec<Vec<u32>>, Vec<u32>) =
        (inputs.to_vec2().unwrap(), targets.to_vec1().unwrap());
    let rows: Vec<Vec<u32>> =
        inputs.iter().zip([5, 11]).map(|(row, last)| [&row[..], &targets[last..=last]].concat()).collect();
    let mut model = Gpt2Gradient::new(config(), kernel.parse().unwrap()).unwrap();
    model.load(&parameters);
    // Masks belong to a whole batch; without them, two halves give the sum.
    let parts = if dropout.is_some() { vec![&rows[..]] } else { vec![&rows[..1], &rows[1..]] };
    let mut loss = 0.0;
    for part in parts {
        loss +=
            model.add_gradient(&parameters, part, (1.0 / 12.0, dropout.copied()), &mut gradients).unwrap();
    }
    assert!(dropout.is_some() || (model.loss(&parameters, &rows).unwrap() - loss).abs() < 1e-5);
    (loss / 12.0, gradients)
}

/// Compares up to `n` entries of every tensor's gradient with central differences, of candle's graph and by hand.
fn check_every_tensor(dropout: Option<&Dropout>, n: usize) {
    let vars = variables(DType::F64);
    let loss = loss_of(tensors(&vars), dropout);
    let gradients = loss.backward().unwrap();
    let by_hand = by_hand(dropout, "auto");
    assert!((by_hand.0 - loss.to_scalar::<f64>().unwrap()).abs() < 1e-6);
    let step = 1e-5;
    for (name, var) in &vars {
        let gradient = gradients.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let values = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for at in (0..values.len()).step_by(values.len().div_ceil(n)) {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[at] += by;
                let mut tensors = tensors(&vars);
                tensors.insert(name.clone(), Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap());
                loss_of(tensors, dropout).to_scalar::<f64>().unwrap()
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            let error = (gradient[at] - expected).abs();
            // Candle's derivative of GELU has constants of six digits.
            assert!(
                error < 1e-7 + 5e-5 * expected.abs(),
                "{name}[{at}]: {} against {expected}",
                gradient[at]
            );
            let ours = f64::from(by_hand.1[name][at]);
            assert!(
                (ours - expected).abs() < 1e-6 + 1e-4 * expected.abs(),
                "{name}[{at}] by hand: {ours} against {expected}"
            );
        }
        // Every entry, not only those that were moved.
        let ours = &by_hand.1[name];
        let largest = gradient.iter().zip(ours).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
        assert!(ours.len() == gradient.len() && largest < 2e-6, "{name}: {largest:e}");
    }
}

#[test]
fn gradients_of_every_tensor_agree_with_finite_differences() {
    check_every_tensor(None, 16);
}

#[test]
fn gradients_by_hand_are_the_same_for_every_number_of_threads() {
    let by = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| by_hand(Some(&Dropout { seed: 5 }), "auto"))
    };
    let one = by(1);
    assert!(one == by(2) && one == by(8));
    if ["avx512", "avx2"].iter().all(|kernel| kernel.parse::<verbatim_lm::Kernel>().is_ok()) {
        assert!(by_hand(None, "avx512") == by_hand(None, "avx2"));
    }
}

#[test]
fn gradients_under_dropout_agree_with_finite_differences() {
    check_every_tensor(Some(&Dropout { seed: 5 }), 4);
}

#[test]
fn dropout_masks_follow_the_seed() {
    let loss = |seed| {
        let dropout = Dropout { seed };
        loss_of(tensors(&variables(DType::F64)), Some(&dropout)).to_scalar::<f64>().unwrap()
    };
    assert_eq!(loss(1), loss(1));
    assert_ne!(loss(1), loss(2));
}

/// The reason for two paths: candle's fused operations detach without a word, so the check above must fail
/// on the path that inference takes. When this test fails, candle's operations have learnt to differentiate.
#[test]
fn the_fused_path_would_fail_the_check() {
    let vars = variables(DType::F32);
    let (inputs, targets) = batch();
    let true_gradients = loss_of(tensors(&vars), None).backward().unwrap();
    let model = Gpt2::new(config(), tensors(&vars)).unwrap();
    let rows: Vec<Vec<u32>> = inputs.to_vec2().unwrap();
    let runs: Vec<Run<'_>> = (0..).zip(&rows).map(|(slot, tokens)| Run { slot, tokens }).collect();
    let states = model.hidden(&runs, &mut model.new_cache(2, 6).unwrap()).unwrap();
    let fused = loss(&states.matmul(&vars["wte.weight"].t().unwrap()).unwrap(), &targets);
    let fused_gradients = fused.backward().unwrap();
    let lost = |name: &str| {
        let var = vars[name].as_tensor();
        assert!(true_gradients.get(var).is_some());
        fused_gradients.get(var).is_none()
    };
    for name in ["h.0.ln_1.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_proj.weight", "wpe.weight"] {
        assert!(lost(name), "{name} has a gradient through the fused path");
    }
    assert!(!lost("wte.weight"), "the tied head alone would still train");
}
