"""The scoring pass of `verbatim infer` beside mink-plus-plus's script and mimir's attacks, on one CPU model and the same texts.

    pip install torch transformers accelerate pandas scikit-learn tqdm simple-parsing nltk requests    # verbatim on PATH
    python benches/peers/membership.py MODEL CORPUS.jsonl --mink MINK --mimir MIMIR [--texts 300] [--runs 3]

MODEL is a GPT-2 in Hugging Face layout. MINK and MIMIR are checkouts of github.com/zjysteven/mink-plus-plus and of
github.com/iamgroot42/mimir. The first runs as it is (`run.py`), with the texts in the place of its data set; of the second the
model and the attacks (loss, zlib, Min-K%, Min-K%++) run as its `run.py` calls them: probabilities once a text, then each attack.
Each runs as a process of its own, verbatim too, in turns; medians and ratios are printed, and the largest differences of the
scores. The token that begins a text stands before each, so that all score the same tokens.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types

START = "<|endoftext|>"


def mink(arguments):
    """run.py of mink-plus-plus; keeps the scores that it gives to its metrics."""
    import runpy

    import sklearn.metrics

    texts = [json.loads(line)["text"] for line in open(arguments.texts_file)]
    rows = [{"input": START + text, "label": i % 2} for i, text in enumerate(texts)]
    datasets = types.ModuleType("datasets")
    datasets.load_dataset = lambda *_, **__: rows
    sys.modules["datasets"] = datasets
    given = []
    curve = sklearn.metrics.roc_curve
    sklearn.metrics.roc_curve = lambda labels, scores: given.append(scores) or curve(labels, scores)
    use_fast_tokenizer()
    sys.argv = ["run.py", "--model", arguments.model]
    runpy.run_path(os.path.join(arguments.mink, "run.py"), run_name="__main__")
    # In its order: loss, zlib, then ten shares of Min-K% and ten of Min-K%++, of which 0.2 is the second.
    names = {"loss": 0, "min-k": 3, "min-k++": 13}
    json.dump({name: list(map(float, given[at])) for name, at in names.items()}, open(arguments.out, "w"))


def use_fast_tokenizer():
    """A folder with a tokenizer.json alone is a tokenizer, too."""
    import transformers

    def load(path, **_):
        return transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))

    transformers.AutoTokenizer.from_pretrained = load


def mimir(arguments):
    """mimir's model and attacks."""
    for name in ("hf_olmo", "openai", "datasets"):
        sys.modules[name] = types.ModuleType(name)
    sys.path.insert(0, arguments.mimir)
    import torch
    import transformers

    use_fast_tokenizer()
    from mimir.attacks.loss import LOSSAttack
    from mimir.attacks.min_k import MinKProbAttack
    from mimir.attacks.min_k_plus_plus import MinKPlusPlusAttack
    from mimir.attacks.zlib import ZLIBAttack
    from mimir.models import Model

    class Loaded(Model):
        def __init__(self, path):
            torch.nn.Module.__init__(self)
            self.device, self.name = "cpu", path
            self.model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            self.load_model_properties()

    model = Loaded(arguments.model)
    attacks = {
        "loss": LOSSAttack(None, model),
        "zlib": ZLIBAttack(None, model),
        "min-k": MinKProbAttack(None, model),
        "min-k++": MinKPlusPlusAttack(None, model),
    }
    scores = {name: [] for name in attacks}
    for line in open(arguments.texts_file):
        text = START + json.loads(line)["text"]
        probabilities, all_probabilities = model.get_probabilities(text, return_all_probs=True)
        for name, attack in attacks.items():
            score = attack._attack(text, probs=probabilities, all_probs=all_probabilities)
            # Lower is a member there.
            scores[name].append(-float(score))
    json.dump(scores, open(arguments.out, "w"))


def timed(command):
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stdout}\n{done.stderr}")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus")
    parser.add_argument("--mink")
    parser.add_argument("--mimir")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--characters", type=int, default=200, help="of each text, so that it fits the context")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--verbatim", default="verbatim")
    parser.add_argument("--as-peer", help=argparse.SUPPRESS)
    parser.add_argument("--texts-file", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_peer:
        return {"mink": mink, "mimir": mimir}[arguments.as_peer](arguments)
    folder = tempfile.mkdtemp()
    arguments.model = os.path.abspath(arguments.model)
    seen, lines = set(), []
    for line in open(arguments.corpus):
        text = json.loads(line)["text"][: arguments.characters]
        if text.strip() and text not in seen and len(lines) < arguments.texts:
            seen.add(text)
            lines.append(json.dumps({"text": text}))
    half = len(lines) // 2
    paths = [os.path.join(folder, name) for name in ("members.jsonl", "others.jsonl", "all.jsonl")]
    for path, part in zip(paths, (lines[:half], lines[half:], lines)):
        open(path, "w").write("\n".join(part) + "\n")
    commands = {}
    for peer in ("mink", "mimir"):
        if getattr(arguments, peer):
            checkout = os.path.abspath(getattr(arguments, peer))
            commands[peer] = [sys.executable, os.path.abspath(__file__), arguments.model, arguments.corpus, "--as-peer", peer]
            commands[peer] += ["--texts-file", paths[2], "--out", os.path.join(folder, peer), f"--{peer}", checkout]
    ours = [arguments.verbatim, "infer", "--model", arguments.model, "--members", paths[0], "--non-members", paths[1]]
    ours += ["--documents", str(len(lines)), "--max-tokens", "100000", "--force", "-o", os.path.join(folder, "infer")]
    commands["verbatim"] = ours
    times = {name: [] for name in commands}
    os.chdir(folder)
    for _ in range(arguments.runs):
        for name, command in commands.items():
            times[name].append(timed(command))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in medians.items():
        print(f"{name}: {seconds:.2f} s, {seconds / medians['verbatim']:.1f} times verbatim's")
    subprocess.run(ours + ["--keep-records"], check=True, capture_output=True)
    compare(folder, [peer for peer in ("mink", "mimir") if peer in commands])


def compare(folder, peers):
    """The largest difference of each score, text by text, and of each area: the scores are those of the records that verbatim
    kept, the areas are in its report."""
    import sklearn.metrics

    lines = [json.loads(line) for line in open(os.path.join(folder, "infer", "records.jsonl"))][1:]
    report = json.load(open(os.path.join(folder, "infer", "report.json")))["result"]
    areas = {row["name"]: row["auc"]["value"] for row in report["signals"]}
    own = {"loss": [], "min-k": [], "min-k++": []}
    for line in lines:
        records = line["records"]
        logs = records["log_prob"]
        spread = zip(logs, records["mean_log_prob"], records["std_log_prob"])
        standard = sorted((log - mean) / deviation for log, mean, deviation in spread)
        n = max(1, int(len(logs) * 0.2))
        own["loss"].append(statistics.fmean(logs))
        own["min-k"].append(statistics.fmean(sorted(logs)[:n]))
        own["min-k++"].append(statistics.fmean(standard[:n]))
    labels = [line["is_member"] for line in lines]
    for peer in peers:
        theirs = json.load(open(os.path.join(folder, peer)))
        for name, scores in own.items():
            difference = max(abs(one - other) for one, other in zip(scores, theirs[name]))
            area = abs(sklearn.metrics.roc_auc_score(labels, theirs[name]) - areas[name])
            print(f"{peer} {name}: scores of {len(scores)} texts within {difference:.1e}, AUC within {area:.1e}")


if __name__ == "__main__":
    main()
