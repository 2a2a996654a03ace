"""Writes the reference values that tests/torch.rs compares with: a small random GPT-2 and what PyTorch
`transformers` says of it.

    python make_reference.py          # needs torch, transformers, safetensors, numpy; last run with the
                                      # versions named in reference.json

Outputs, beside this script:
    config.json, model.safetensors    the model, as transformers saves it, plus one `attn.bias` mask buffer
                                      as old checkpoints have it (to be ignored)
    reference.safetensors             f32 logits of one batch; gradients of the mean cross-entropy
    reference.json                    texts, records, greedy continuations, loss, golden record
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


def random_model():
    config = transformers.GPT2Config(
        vocab_size=96, n_positions=48, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.1, embd_pdrop=0.1,
        attn_pdrop=0.1, bos_token_id=0, eos_token_id=95)
    torch.manual_seed(20260101)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Larger than GPT-2's own start, so that every tensor, biases and norms too, moves the logits.
            spread = 0.05 if "wpe" in name else 0.15
            centre = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, spread)
    return config, model


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


def main():
    config, model = random_model()
    (HERE / "config.json").write_text(config.to_json_string())
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("lm_head")}
    tensors["transformer.h.0.attn.bias"] = torch.ones(48, 48, dtype=torch.uint8).tril()[None, None].contiguous()
    safetensors.torch.save_file(tensors, HERE / "model.safetensors", {"format": "pt"})

    rng = numpy.random.default_rng(7)
    batch = torch.tensor(rng.integers(0, 96, (2, 17)))
    logits = model(batch).logits
    loss = model(batch, labels=batch).loss
    loss.backward()
    stored = {"batch": batch.to(torch.uint32), "logits": logits.detach()}
    parameters = dict(model.transformer.named_parameters())
    stored |= {"gradient." + name: parameters[name].grad for name in GRADIENTS}
    safetensors.torch.save_file({k: v.contiguous() for k, v in stored.items()}, HERE / "reference.safetensors")

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
    golden_logits = [0.5, -1.25, 3.0, 3.0, 0.0, -7.5]
    golden = [{"token": t, "record": records(numpy.array([golden_logits]), [t])[0]} for t in range(6)]
    (HERE / "reference.json").write_text(json.dumps({
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                     "numpy": numpy.__version__},
        "loss": loss.item(), "scored": scored, "greedy": greedy,
        "golden": {"logits": golden_logits, "rows": golden}}, indent=None) + "\n")


if __name__ == "__main__":
    main()
