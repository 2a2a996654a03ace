//! What llama.cpp's converter did to a model, undone: its keys, its names of tensors and its order of rotated rows, as
//! Hugging Face has them.

use candle_core::Tensor;
use serde_json::{Value as Json, json};

use super::header::{Header, Value};
use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// The configuration that the metadata describes.
pub(super) fn config(header: &Header) -> Result<ModelConfig> {
    let family = match header.metadata.get("general.architecture") {
        Some(Value::Text(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => return Err(Error::Config("general.architecture is missing".to_owned())),
    };
    let keys = Keys { header, family: &family };
    if let Some(scaled) = header.tensors.iter().find(|tensor| tensor.name.starts_with("rope_freqs")) {
        return Err(Error::Config(format!(
            "tensor `{}` stretches positions, which is not supported",
            scaled.name
        )));
    }
    let tied = !header.tensors.iter().any(|tensor| tensor.name == "output.weight");
    let vocab_size = match header.metadata.get("tokenizer.ggml.tokens") {
        Some(Value::Texts(tokens)) => tokens.len(),
        _ => return Err(Error::Config("tokenizer.ggml.tokens is missing".to_owned())),
    };
    let bos = match header.metadata.get("tokenizer.ggml.bos_token_id") {
        Some(Value::Integer(id)) => json!(u32::try_from(*id).ok()),
        _ => Json::Null,
    };
    let common = json!({"vocab_size": vocab_size, "tie_word_embeddings": tied, "bos_token_id": bos});
    let own = match family.as_str() {
        "llama" => keys.llama()?,
        "gpt2" => keys.gpt2()?,
        other => {
            return Err(Error::Config(format!("general.architecture is `{other}`; read are llama and gpt2")));
        }
    };
    let mut config = common;
    if let (Some(config), Json::Object(own)) = (config.as_object_mut(), own) {
        config.extend(own);
    }
    ModelConfig::parse(config.to_string().as_bytes())
}

/// The metadata of one architecture.
struct Keys<'a> {
    header: &'a Header,
    family: &'a str,
}

impl Keys<'_> {
    fn optional(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(&format!("{}.{key}", self.family))
    }

    fn integer(&self, key: &str) -> Result<u64> {
        match self.optional(key) {
            Some(&Value::Integer(n)) if u64::try_from(n).is_ok() => Ok(n as u64),
            other => {
                Err(Error::Config(format!("{}.{key} is {other:?}, expected a whole number", self.family)))
            }
        }
    }

    fn float(&self, key: &str) -> Result<f64> {
        match self.optional(key) {
            Some(&Value::Float(x)) => Ok(x),
            other => Err(Error::Config(format!("{}.{key} is {other:?}, expected a number", self.family))),
        }
    }

    fn llama(&self) -> Result<Json> {
        let scaling = self.optional("rope.scaling.type");
        if scaling.is_some_and(|kind| *kind != Value::Text(b"none".to_vec())) {
            return Err(Error::Config("llama.rope.scaling.type is set, which is not supported".to_owned()));
        }
        let heads = self.integer("attention.head_count")?;
        Ok(json!({
            "model_type": "llama",
            "hidden_size": self.integer("embedding_length")?,
            "intermediate_size": self.integer("feed_forward_length")?,
            "num_hidden_layers": self.integer("block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.integer("attention.head_count_kv").unwrap_or(heads),
            "head_dim": self.integer("attention.key_length").ok(),
            "max_position_embeddings": self.integer("context_length")?,
            "rms_norm_eps": self.float("attention.layer_norm_rms_epsilon")?,
            "rope_theta": self.float("rope.freq_base").unwrap_or(10_000.0),
        }))
    }

    fn gpt2(&self) -> Result<Json> {
        Ok(json!({
            "model_type": "gpt2",
            "n_embd": self.integer("embedding_length")?,
            "n_inner": self.integer("feed_forward_length").ok(),
            "n_layer": self.integer("block_count")?,
            "n_head": self.integer("attention.head_count")?,
            "n_positions": self.integer("context_length")?,
            "layer_norm_epsilon": self.float("attention.layer_norm_epsilon")?,
        }))
    }
}

/// A tensor by its name in Hugging Face's checkpoints and in their layout; nothing for what no model needs.
pub(super) fn tensor(config: &ModelConfig, name: &str, tensor: Tensor) -> Result<Option<(String, Tensor)>> {
    let (base, kind) = name.rsplit_once('.').unwrap_or((name, ""));
    let (layer, part) = match base.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => (Some(layer), part),
        None => (None, base),
    };
    let translated = match config {
        ModelConfig::Llama(_) => llama_name(part),
        ModelConfig::Gpt2(_) => gpt2_name(part),
        ModelConfig::GptNeox(_) => None,
    };
    let Some(part) = translated else { return Ok(None) };
    let full = match layer {
        None => format!("{part}.{kind}"),
        Some(layer) if matches!(config, ModelConfig::Gpt2(_)) => format!("h.{layer}.{part}.{kind}"),
        Some(layer) => format!("layers.{layer}.{part}.{kind}"),
    };
    let tensor = match config {
        // GPT-2's projections are stored as (in, out).
        ModelConfig::Gpt2(_) if layer.is_some() && tensor.rank() == 2 => tensor.t()?.contiguous()?,
        ModelConfig::Llama(llama) if matches!(part, "self_attn.q_proj" | "self_attn.k_proj") => {
            unpermuted(&tensor, llama.head_dim())?
        }
        _ => tensor,
    };
    Ok(Some((full, tensor)))
}

fn llama_name(part: &str) -> Option<&'static str> {
    Some(match part {
        "token_embd" => "embed_tokens",
        "output_norm" => "norm",
        "output" => "lm_head",
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    })
}

fn gpt2_name(part: &str) -> Option<&'static str> {
    Some(match part {
        "token_embd" => "wte",
        "position_embd" => "wpe",
        "output_norm" => "ln_f",
        "output" => "lm_head",
        "attn_norm" => "ln_1",
        "attn_qkv" => "attn.c_attn",
        "attn_output" => "attn.c_proj",
        "ffn_norm" => "ln_2",
        "ffn_up" => "mlp.c_fc",
        "ffn_down" => "mlp.c_proj",
        _ => return None,
    })
}

/// Rows of a head from the order of llama.cpp, where the two numbers of a rotated pair are neighbours, to that where
/// they stand half a head apart.
fn unpermuted(tensor: &Tensor, head_dim: usize) -> Result<Tensor> {
    let (rows, columns) = match *tensor.dims() {
        [rows, columns] if rows.is_multiple_of(head_dim) => (rows, columns),
        // The check of shapes will say what is wrong.
        _ => return Ok(tensor.clone()),
    };
    let pairs = tensor.reshape((rows / head_dim, head_dim / 2, 2, columns))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?)
}
