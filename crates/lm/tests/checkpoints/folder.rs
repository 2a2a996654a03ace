//! Opening a folder: what is loaded is what the files hold, and what is wrong is named.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tempfile::TempDir;
use verbatim_lm::{Checkpoint, Error, Gpt2, Gpt2Config, LanguageModel, Result, Runtime, Tokenizer};
use verbatim_store::{Silent, sha256_file};

const TEXTS: [&str; 2] = ["the cat sat on the mat, and the cat sat still", "a cat and a mat"];

/// A folder with a tiny random GPT-2 and a tokenizer of its own.
pub(crate) struct Folder {
    dir: TempDir,
    config: serde_json::Value,
    tensors: HashMap<String, Tensor>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let tokenizer = Tokenizer::train(TEXTS.into_iter(), 270).unwrap();
        let vocab_size = Tokenizer::from_bytes(&tokenizer).unwrap().vocab_size();
        let config = serde_json::json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": vocab_size,
            "n_positions": 16, "n_ctx": 16, "n_embd": 8, "n_layer": 2, "n_head": 2,
        });
        let parsed: Gpt2Config = serde_json::from_value(without_alias(&config)).unwrap();
        let tensors = Gpt2::initial_tensors(&parsed, 1).unwrap().into_iter().collect();
        let folder = Self { dir: tempfile::tempdir().unwrap(), config, tensors };
        folder.write("tokenizer.json", &tokenizer);
        folder.write_config(&folder.config);
        folder.write_tensors("model.safetensors", &folder.tensors);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn write_config(&self, config: &serde_json::Value) {
        self.write("config.json", config.to_string().as_bytes());
    }

    fn write_tensors(&self, name: &str, tensors: &HashMap<String, Tensor>) {
        candle_core::safetensors::save(tensors, self.path().join(name)).unwrap();
    }

    fn open(&self) -> Result<Checkpoint> {
        Checkpoint::open(self.path(), Runtime::default())
    }

    fn refusal(&self, exit_code: u8, expected: &str) {
        let error = self.open().unwrap_err();
        assert_eq!(error.exit_code(), exit_code, "{error}");
        assert!(error.to_string().contains(expected), "{error}, expected {expected}");
    }
}

/// `n_positions` is also called `n_ctx`, and real files have both.
fn without_alias(config: &serde_json::Value) -> serde_json::Value {
    let mut config = config.clone();
    config.as_object_mut().unwrap().remove("n_ctx");
    config
}

fn log_probs(checkpoint: &Checkpoint) -> Vec<f32> {
    let ids = checkpoint.tokenizer.encode("the cat");
    let records = checkpoint.model.score(&[ids], 1, &Silent).unwrap();
    records[0].iter().map(|record| record.log_prob).collect()
}

#[test]
fn a_folder_opens_with_the_hashes_of_what_was_read() {
    let folder = Folder::new();
    let checkpoint = folder.open().unwrap();
    let names: Vec<&str> = checkpoint.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "tokenizer.json", "model.safetensors"]);
    for file in &checkpoint.files {
        let path = folder.path().join(&file.name);
        assert_eq!(file.sha256, sha256_file(&path).unwrap());
        assert_eq!(file.n_bytes, fs::metadata(&path).unwrap().len());
    }
    assert_eq!(checkpoint.tokenizer.sha256(), checkpoint.files[1].sha256);
    assert_eq!(checkpoint.name, folder.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(checkpoint.revision, None);
    // The same model, built without any file.
    let config: Gpt2Config = serde_json::from_value(without_alias(&folder.config)).unwrap();
    let direct = Gpt2::new(config, folder.tensors.clone()).unwrap();
    let ids = checkpoint.tokenizer.encode("the cat");
    let expected = direct.score(&[ids], 1, &Silent).unwrap();
    assert_eq!(log_probs(&checkpoint), expected[0].iter().map(|r| r.log_prob).collect::<Vec<_>>());
}

#[test]
fn shards_and_one_file_are_the_same_model() {
    let folder = Folder::new();
    let whole = log_probs(&folder.open().unwrap());
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let (first, second): (HashMap<_, _>, HashMap<_, _>) =
        folder.tensors.clone().into_iter().partition(|(name, _)| name.starts_with("h.0"));
    folder.write_tensors("model-1.safetensors", &first);
    folder.write_tensors("model-2.safetensors", &second);
    let shard =
        |name: &String| if first.contains_key(name) { "model-1.safetensors" } else { "model-2.safetensors" };
    let map: HashMap<&String, &str> = folder.tensors.keys().map(|name| (name, shard(name))).collect();
    let index = |map: &HashMap<&String, &str>| serde_json::json!({ "weight_map": map }).to_string();
    folder.write("model.safetensors.index.json", index(&map).as_bytes());
    let checkpoint = folder.open().unwrap();
    assert_eq!(log_probs(&checkpoint), whole);
    assert_eq!(checkpoint.files.len(), 5);
    let unasked = Runtime { device: verbatim_lm::Device::Nowhere, ..Runtime::default() };
    assert_eq!(Checkpoint::open(folder.path(), unasked).unwrap().files, checkpoint.files);

    // The bad cases of row 54.
    let extra = "lm_head.extra".to_owned();
    let mut lost = map.clone();
    lost.insert(&extra, "model-1.safetensors");
    folder.write("model.safetensors.index.json", index(&lost).as_bytes());
    folder.refusal(65, "no shard holds tensor `lm_head.extra`");
    let shards = [
        ("../model-1.safetensors", 65, "plain file name"),
        ("/etc/passwd", 65, "plain file name"),
        ("a/b.safetensors", 65, "plain file name"),
        ("..", 65, "plain file name"),
        ("model-3.safetensors", 65, "`model-3.safetensors` is missing"),
        ("pytorch_model-1.bin", 77, "pickle can run code"),
    ];
    for (name, exit_code, expected) in shards {
        let mut bad = map.clone();
        bad.insert(&extra, name);
        folder.write("model.safetensors.index.json", index(&bad).as_bytes());
        folder.refusal(exit_code, expected);
    }
    folder.write_tensors("model-2.safetensors", &folder.tensors);
    folder.write("model.safetensors.index.json", index(&map).as_bytes());
    folder.refusal(65, "in another shard, too");
}

#[test]
fn half_precision_weights_are_converted_and_old_buffers_ignored() {
    let mut folder = Folder::new();
    let round = |tensor: &Tensor, dtype| tensor.to_dtype(dtype).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let rounded: HashMap<String, Tensor> =
            folder.tensors.iter().map(|(name, tensor)| (name.clone(), round(tensor, dtype))).collect();
        folder.write_tensors("model.safetensors", &rounded);
        let loaded = log_probs(&folder.open().unwrap());
        let back = rounded.iter().map(|(name, tensor)| (name.clone(), round(tensor, DType::F32))).collect();
        folder.write_tensors("model.safetensors", &back);
        assert_eq!(log_probs(&folder.open().unwrap()), loaded);
    }
    folder.write_tensors("model.safetensors", &folder.tensors);
    let expected = log_probs(&folder.open().unwrap());
    let mask = Tensor::ones((1, 1, 16, 16), DType::U8, &Device::Cpu).unwrap();
    folder.tensors.insert("h.0.attn.bias".to_owned(), mask.clone());
    folder.write_tensors("model.safetensors", &folder.tensors);
    assert_eq!(log_probs(&folder.open().unwrap()), expected);
    folder.tensors.insert("h.0.odd".to_owned(), mask);
    folder.write_tensors("model.safetensors", &folder.tensors);
    folder.refusal(65, "tensor `h.0.odd` is U8, expected F32, F16 or BF16");
}

#[test]
fn fault_50_pickles_are_refused_wherever_they_stand() {
    let folder = Folder::new();
    folder.write("model.safetensors", b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl");
    folder.refusal(77, "pickle can run code; convert to safetensors");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    folder.refusal(66, "neither model.safetensors nor model.safetensors.index.json");
    folder.write("pytorch_model.bin", b"PK\x03\x04");
    folder.refusal(77, "pytorch_model.bin: a pickle can run code");
    let pickle = folder.path().join("pytorch_model.bin");
    assert_eq!(Checkpoint::open(&pickle, Runtime::default()).unwrap_err().exit_code(), 77);
    assert_eq!(
        Checkpoint::open(&folder.path().join("nowhere"), Runtime::default()).unwrap_err().exit_code(),
        66
    );
}

#[test]
fn fault_52_tensors_that_are_missing_or_of_the_wrong_shape_are_listed() {
    let mut folder = Folder::new();
    folder.tensors.remove("h.1.ln_1.bias").unwrap();
    let transposed = folder.tensors["h.0.attn.c_attn.weight"].t().unwrap().contiguous().unwrap();
    folder.tensors.insert("h.0.attn.c_attn.weight".to_owned(), transposed);
    folder.write_tensors("model.safetensors", &folder.tensors);
    folder.refusal(65, "`h.1.ln_1.bias` is missing");
    folder.refusal(65, "`h.0.attn.c_attn.weight`");
}

#[test]
fn fault_53_weights_that_are_no_numbers_are_refused_by_name() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut folder = Folder::new();
        let mut values = vec![0.5f32; 8];
        values[7] = bad;
        folder.tensors.insert("ln_f.weight".to_owned(), Tensor::new(values, &Device::Cpu).unwrap());
        folder.write_tensors("model.safetensors", &folder.tensors);
        folder.refusal(65, "ln_f.weight");
    }
}

#[test]
fn fault_55_absurd_or_foreign_configurations_are_refused_before_the_weights() {
    let folder = Folder::new();
    // No weights: were they reached, the exit code would be 66.
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let cases = [
        ("n_head", serde_json::json!(0), "n_head"),
        ("n_head", serde_json::json!(3), "n_head"),
        ("n_head", serde_json::json!(-1), "config.json"),
        ("n_layer", serde_json::json!(1u64 << 40), "n_layer"),
        ("n_embd", serde_json::json!(1u64 << 40), "n_embd"),
        ("vocab_size", serde_json::json!(1u64 << 31), "vocab_size"),
        ("vocab_size", serde_json::json!(1e300), "config.json"),
        ("n_positions", serde_json::json!(1u64 << 40), "n_positions"),
        ("activation_function", serde_json::json!("relu"), "relu"),
        ("layer_norm_epsilon", serde_json::json!(-1.0), "layer_norm_epsilon"),
        ("model_type", serde_json::json!("llama"), "supported are GPT-2"),
        ("architectures", serde_json::json!(["LlamaForCausalLM"]), "supported are GPT-2"),
        ("quantization_config", serde_json::json!({"bits": 4}), "quantization_config"),
        ("add_cross_attention", serde_json::json!(true), "add_cross_attention"),
    ];
    for (field, value, expected) in cases {
        let mut config = without_alias(&folder.config);
        config[field] = value;
        folder.write_config(&config);
        folder.refusal(65, expected);
    }
    let broken: [&[u8]; 5] = [b"", b"null", b"{}", b"[[[[", &[b' '; 1 << 20 | 1]];
    for bytes in broken {
        folder.write("config.json", bytes);
        assert_eq!(folder.open().unwrap_err().exit_code(), 65);
    }
}

#[test]
fn fault_56_a_file_that_ends_early_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for n in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..n]).unwrap();
        assert_eq!(folder.open().unwrap_err().exit_code(), 65, "{n} bytes");
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    folder.refusal(65, "1 bytes behind the last tensor");
}

#[test]
fn fault_57_a_model_larger_than_the_memory_is_refused_before_it_is_read() {
    let folder = Folder::new();
    let n_bytes = fs::metadata(folder.path().join("model.safetensors")).unwrap().len();
    let open = |free_memory| Checkpoint::open(folder.path(), Runtime { free_memory, ..Runtime::default() });
    assert!(open(Some(3 * n_bytes)).is_ok());
    let error = open(Some(n_bytes)).unwrap_err();
    assert_eq!(error.exit_code(), 74);
    assert!(error.to_string().contains("of memory"), "{error}");
    // A hundred gigabytes are not read, nor is it noticed that they are no weights.
    let file = fs::File::options().write(true).open(folder.path().join("model.safetensors")).unwrap();
    file.set_len(100 << 30).unwrap();
    let error = open(Some(50 << 30)).unwrap_err();
    let expected = "loading it takes about 107374 MB of memory, and 53687 MB are free";
    assert!(error.to_string().ends_with(expected), "bf16 would not help: {error}");
}

#[test]
fn fault_60_a_tokenizer_of_another_model_is_refused() {
    let folder = Folder::new();
    let n = folder.config["vocab_size"].as_u64().unwrap();
    for (vocab_size, fits) in [(n - 1, false), (n + 1, false), (320, true), (1280, true), (1344, false)] {
        let mut config = without_alias(&folder.config);
        config["vocab_size"] = vocab_size.into();
        folder.write_config(&config);
        let parsed: Gpt2Config = serde_json::from_value(config).unwrap();
        folder.write_tensors(
            "model.safetensors",
            &Gpt2::initial_tensors(&parsed, 1).unwrap().into_iter().collect(),
        );
        match folder.open() {
            Ok(_) => assert!(fits, "{vocab_size}"),
            Err(error @ Error::BadFile { .. }) => {
                assert!(
                    !fits && error.to_string().contains("another model's tokenizer"),
                    "{vocab_size}: {error}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_snapshot_of_a_hubs_cache_is_named_by_its_model_and_commit() {
    let (folder, cache) = (Folder::new(), tempfile::tempdir().unwrap());
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let dir = cache.path().join("models--openai-community--gpt2/snapshots").join(commit);
    fs::create_dir_all(&dir).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(folder.path().join(name), dir.join(name)).unwrap();
    }
    let checkpoint = Checkpoint::open(&dir, Runtime::default()).unwrap();
    assert_eq!(checkpoint.name, "openai-community/gpt2");
    assert_eq!(checkpoint.revision.as_deref(), Some(commit));
}
