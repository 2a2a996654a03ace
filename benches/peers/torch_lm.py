"""PyTorch's side of `cargo bench -- lm`: the same shapes, random weights, medians of five.

    python benches/peers/torch_lm.py [THREADS]        # needs torch and transformers
"""

import statistics
import sys
import time

import torch
import transformers


def median(run, warm=1, n=5):
    for _ in range(warm):
        run()
    seconds = []
    for _ in range(n):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def draw_and_score(dtype):
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval().to(dtype)
    for batch in (1, 8, 32, 64):
        prompts = torch.randint(0, 50257, (batch, 8))
        run = lambda: model.generate(  # noqa: E731
            prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=40, max_new_tokens=64,
            min_new_tokens=64, pad_token_id=0)
        print(f"  {dtype} draw, batch {batch}: {batch * 64 / median(run):.1f} tokens a second", flush=True)
    texts = torch.randint(0, 50257, (8, 257))

    def score():
        logits = model(texts[:, :-1]).logits.float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())

    print(f"  {dtype} score, 8 texts of 256: {8 * 256 / median(score):.1f} tokens a second", flush=True)


def train():
    config = transformers.GPT2Config(
        vocab_size=256, n_positions=128, n_embd=128, n_layer=4, n_head=4, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0,
        bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).train()
    rows = torch.randint(0, 256, (16, 129))

    def step():
        logits = model(rows[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        model.zero_grad()

    print(f"  gradient, 0.84M weights: {2048 / median(step, warm=5, n=25):.0f} tokens a second", flush=True)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads")
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            draw_and_score(dtype)
    train()


if __name__ == "__main__":
    main()
