"""Writes the reference values that the tests compare with: small random models and what PyTorch
`transformers` says of them.

    python make_reference.py          # needs torch, transformers, safetensors, numpy; last run with the
                                      # versions named in reference.json

Outputs, in a folder for each case:
    config.json, model.safetensors    the model, as transformers saves it; the GPT-2 has one `attn.bias` mask
                                      buffer, as old checkpoints have it (to be ignored)
    reference.safetensors             f32 logits of one batch; for GPT-2 gradients of the mean cross-entropy
    reference.json                    texts, records, greedy continuations; for GPT-2 loss and golden record
"""

import json
import pathlib

import numpy
import safetensors.torch
import torch
import transformers

HERE = pathlib.Path(__file__).parent
GRADIENTS = ["wte.weight", "wpe.weight", "h.0.ln_1.weight", "h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias",
             "h.1.attn.c_proj.weight", "h.1.ln_2.bias", "h.1.mlp.c_fc.bias", "h.0.mlp.c_proj.bias", "ln_f.weight"]


SIZES = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 48, "bos_token_id": 0, "eos_token_id": 95}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 24}


def cases():
    """Name -> (configuration, class, type of the stored weights)."""
    gpt2 = transformers.GPT2Config(
        vocab_size=96, n_positions=48, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.1, embd_pdrop=0.1,
        attn_pdrop=0.1, bos_token_id=0, eos_token_id=95)
    neox = transformers.GPTNeoXConfig(**SIZES, intermediate_size=80, rotary_pct=0.25)
    sequential = transformers.GPTNeoXConfig(
        **SIZES, intermediate_size=96, rotary_pct=1.0, use_parallel_residual=False, hidden_act="gelu_new",
        tie_word_embeddings=True)
    llama = transformers.LlamaConfig(**SIZES, intermediate_size=72, num_key_value_heads=2)
    stretched = transformers.LlamaConfig(
        **SIZES, intermediate_size=72, num_key_value_heads=1, head_dim=12, attention_bias=True,
        tie_word_embeddings=True, rope_parameters=LLAMA3)
    return {
        "gpt2": (gpt2, transformers.GPT2LMHeadModel, torch.float32),
        "gpt_neox": (neox, transformers.GPTNeoXForCausalLM, torch.float16),
        "gpt_neox_sequential": (sequential, transformers.GPTNeoXForCausalLM, torch.float32),
        "llama": (llama, transformers.LlamaForCausalLM, torch.bfloat16),
        "llama_stretched": (stretched, transformers.LlamaForCausalLM, torch.float32),
    }


def random_model(config, kind, dtype):
    torch.manual_seed(20260101)
    model = kind(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Larger than a model's own start, so that every tensor, biases and norms too, moves the logits.
            spread = 0.05 if "wpe" in name else 0.15
            norm = "ln_" in name or "norm" in name
            centre = 1.0 if norm and name.endswith("weight") else 0.0
            parameter.normal_(centre, spread)
            parameter.copy_(parameter.to(dtype).to(torch.float32))
    return model


def records(logits, targets):
    """Rows of (log_prob, mean, std, entropy, rank) in f64: straight from the definitions."""
    rows = []
    for row, target in zip(logits.astype(numpy.float64), targets):
        log_probs = row - row.max() - numpy.log(numpy.exp(row - row.max()).sum())
        probs = numpy.exp(log_probs)
        mean = (probs * log_probs).sum()
        std = numpy.sqrt((probs * (log_probs - mean) ** 2).sum())
        order = sorted(range(len(row)), key=lambda i: (-row[i], i))
        rows.append([log_probs[target], mean, std, -mean, order.index(target)])
    return rows


def write(name, config, kind, dtype):
    model = random_model(config, kind, dtype)
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config.to_json_string())
    tied = config.tie_word_embeddings
    tensors = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()
               if not (tied and (k.startswith("lm_head") or k.endswith("head.weight")))}
    if name == "gpt2":
        tensors["transformer.h.0.attn.bias"] = torch.ones(48, 48, dtype=torch.uint8).tril()[None, None].contiguous()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    rng = numpy.random.default_rng(7)
    batch = torch.tensor(rng.integers(0, 96, (2, 17)))
    logits = model(batch).logits
    stored = {"batch": batch.to(torch.uint32), "logits": logits.detach()}
    extra = {}
    if name == "gpt2":
        loss = model(batch, labels=batch).loss
        loss.backward()
        extra["loss"] = loss.item()
        parameters = dict(model.transformer.named_parameters())
        stored |= {"gradient." + name: parameters[name].grad for name in GRADIENTS}
        golden_logits = [0.5, -1.25, 3.0, 3.0, 0.0, -7.5]
        golden = [{"token": t, "record": records(numpy.array([golden_logits]), [t])[0]} for t in range(6)]
        extra["golden"] = {"logits": golden_logits, "rows": golden}
    safetensors.torch.save_file({k: v.contiguous() for k, v in stored.items()}, folder / "reference.safetensors")

    texts = [rng.integers(0, 96, n).tolist() for n in (2, 17, 33, 48)]
    scored = []
    for text in texts:
        with torch.no_grad():
            rows = model(torch.tensor([text])).logits[0, :-1].numpy()
        scored.append({"tokens": text, "records": records(rows, text[1:])})
    greedy = []
    for prompt in ([0], [5, 17, 23], rng.integers(0, 96, 20).tolist()):
        out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                             do_sample=False, max_new_tokens=24, eos_token_id=None, pad_token_id=0)
        greedy.append({"prompt": prompt, "tokens": out[0, len(prompt):].tolist()})
    (folder / "reference.json").write_text(json.dumps({
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                     "numpy": numpy.__version__},
        "scored": scored, "greedy": greedy, **extra}, indent=None) + "\n")


def main():
    for name, case in cases().items():
        write(name, *case)


if __name__ == "__main__":
    main()
