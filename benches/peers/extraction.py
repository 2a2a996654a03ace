"""`verbatim extract` and `verbatim audit` beside the published ways, on one small GPT-2 checkpoint.

    python benches/peers/extraction.py MODEL REFERENCE CORPUS.jsonl [--samples 200]    # torch, transformers, verbatim on PATH

Three things: the generation and four rankings of Carlini et al. 2021 as their code has them (a batch of samples at a time
from the end-of-text token, top-k 40; each sample scored alone by the model, by a smaller one and in lower case, and zlib),
timed as one process with verbatim's run of the same number of samples; the same four scores for verbatim's own samples,
and whether they rank them alike; and greedy continuations by `generate` at the places that `verbatim audit` asked for,
and whether the two agree.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zlib

TOP = 100


def load(path):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))
    model = transformers.GPT2LMHeadModel.from_pretrained(path).eval()
    torch.set_grad_enabled(False)
    return model, tokenizer


def loss(model, tokens):
    """Mean loss of the tokens after the first, as `model(ids, labels=ids)` gives it."""
    import torch

    ids = torch.tensor([tokens])
    return model(ids, labels=ids).loss.item()


def scores(prompt, tokens, text, models):
    """The four scores of the published code, higher is better, for the prompt and what follows it."""
    (model, tokenizer), (small, _) = models
    own = loss(model, prompt + tokens)
    lowered = prompt + tokenizer.encode(text.lower(), add_special_tokens=False)
    return {
        "perplexity": -own,
        "small": loss(small, prompt + tokens) / own,
        "lowercase": loss(model, lowered) / own,
        "zlib": len(zlib.compress(text.encode())) / own,
    }


def published(arguments):
    """Draw, score and rank, in one process; prints the seconds."""
    import torch

    models = load(arguments.model), load(arguments.reference)
    model, tokenizer = models[0]
    torch.manual_seed(1)
    start = time.perf_counter()
    bos, n_drawn, all_scores = model.config.bos_token_id or 0, 0, []
    # Half of the context, for the lower-cased text has more tokens.
    length = 1 + model.config.n_positions // 2
    while n_drawn < arguments.samples:
        n = min(10, arguments.samples - n_drawn)
        prompts = torch.full((n, 1), bos)
        drawn = model.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=40, top_p=1.0, max_length=length,
            pad_token_id=bos)
        for row in drawn.tolist():
            text = tokenizer.decode(row[1:], skip_special_tokens=True)
            tokens = tokenizer.encode(text, add_special_tokens=False)[: length - 1]
            if tokens:
                all_scores.append(scores([bos], tokens, text, models))
        n_drawn += n
    for metric in ("perplexity", "small", "lowercase", "zlib"):
        sorted(all_scores, key=lambda score: -score[metric])[:TOP]
    print(json.dumps({"seconds": time.perf_counter() - start}))


def timed(command):
    """Wall seconds, and megabytes at the peak, of a whole process."""
    before = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - before, usage.ru_maxrss / 1024


def stored(path):
    with open(path) as lines:
        next(lines)
        return [json.loads(line) for line in lines]


def compare_rankings(arguments, run):
    """Our stored samples under their scores: how alike the two rank them."""
    import torch  # noqa: F401

    models = load(arguments.model), load(arguments.reference)
    samples = [sample for sample in stored(f"{run}/samples.jsonl") if sample["tokens"]]
    records = {(r["strategy"], r["index"]): r for r in stored(f"{run}/records.jsonl")}
    ours = {metric: [] for metric in ("perplexity", "small", "lowercase", "zlib")}
    theirs = {metric: [] for metric in ours}
    mean = lambda values: -sum(values) / len(values)  # noqa: E731
    for sample in samples:
        record = records[sample["strategy"], sample["index"]]
        own = mean(record["records"]["log_prob"])
        ours["perplexity"].append(-own)
        ours["small"].append(mean(record["small"]) / own)
        ours["lowercase"].append(mean(record["lowercase"]) / own)
        ours["zlib"].append(record["zlib_bytes"] / own)
        for metric, score in scores(sample["prompt"], sample["tokens"], sample["text"], models).items():
            theirs[metric].append(score)
    for metric in ours:
        worst = max(abs(a / b - 1) for a, b in zip(ours[metric], theirs[metric]))
        best = [set(sorted(range(len(samples)), key=lambda i: -side[metric][i])[:TOP]) for side in (ours, theirs)]
        print(f"  {metric}: scores differ by {worst:.1e} at most; {len(best[0] & best[1])} of the best {TOP} in common")


def compare_greedy(arguments, run, n_prefix, n_suffix):
    """`generate` at the places of the audit: how often the two say the same of a suffix."""
    import torch

    model, tokenizer = load(arguments.model)
    with open(arguments.corpus) as lines:
        texts = {record["id"]: record["text"] for record in map(json.loads, lines)}
    targets = [target for target in stored(f"{run}/targets.jsonl") if target["role"] != "chosen"]
    rows, said = [], []
    for target in targets:
        text = texts[target["label"]]
        start = len(text.encode()[: target["start_byte"]].decode())
        encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        at = next(i for i, (first, _) in enumerate(encoding["offset_mapping"]) if first >= start)
        rows.append(encoding["input_ids"][at - n_prefix : at + n_suffix])
        said.append(target["continuations"][0][0])
    seconds = time.perf_counter()
    found = []
    for first in range(0, len(rows), 64):
        ids = torch.tensor([row[:n_prefix] for row in rows[first : first + 64]])
        drawn = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=n_suffix,
                               min_new_tokens=n_suffix, pad_token_id=0)
        found += [got[n_prefix:] == row[n_prefix:] for got, row in zip(drawn.tolist(), rows[first : first + 64])]
    seconds = time.perf_counter() - seconds
    differ = [i for i in range(len(rows)) if found[i] != said[i]["is_greedy"]]
    ties = [i for i in differ if said[i]["n_near_ties"]]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {len(rows)} places, {sum(found)} extracted by generate in {seconds:.1f} s, {memory:.0f} MB; audit differs at {len(differ)}, "
          f"{len(ties)} of them near ties")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("reference")
    parser.add_argument("corpus")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--documents", type=int, default=10000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--published", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.published:
        return published(arguments)
    with open(os.path.join(arguments.model, "config.json")) as config:
        length = json.load(config)["n_positions"] // 2
    with tempfile.TemporaryDirectory() as folder:
        ours = ["verbatim", "extract", "--model", arguments.model, "--small", arguments.reference, "--strategies", "top-n",
                "--samples", str(arguments.samples), "--max-new-tokens", str(length), "--corpus", arguments.corpus, "--min-match", "20", "-o"]
        theirs = [sys.executable, __file__, *sys.argv[1:], "--published"]
        times = [(timed([*ours, f"{folder}/run{i}"]), timed(theirs)) for i in range(arguments.runs)]
        for name, side in (("verbatim extract", 0), ("published", 1)):
            runs = sorted(run[side] for run in times)
            print(f"{name}: {runs[len(runs) // 2][0]:.1f} s, {max(memory for _, memory in runs):.0f} MB")
        # Before torch is loaded here: a child's peak memory begins with its parent's.
        audit = ["verbatim", "audit", "--model", arguments.model, "--corpus", arguments.corpus, "--prefix", "32",
                 "--suffix", "32", "--documents", str(arguments.documents), "-o", f"{folder}/audit"]
        seconds, memory = timed(audit)
        print("the same samples under the published scores")
        compare_rankings(arguments, f"{folder}/run0")
        print(f"greedy continuations, 32 tokens after 32; verbatim audit: {seconds:.1f} s, {memory:.0f} MB")
        compare_greedy(arguments, f"{folder}/audit", 32, 32)


if __name__ == "__main__":
    main()
