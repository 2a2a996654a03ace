"""What GPT-2s of several sizes, trained on the demo corpus, give back of it: every attack on each of them, in one table.

    python benches/sizes.py [--work FOLDER]        # from the root of the repository, verbatim on PATH; about half an hour

The corpus has secrets that were planted 1, 4, 16 and 64 times, and controls that never were. Each model is trained for 12
epochs by the recipe of models/README.md but for its size.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

CORPUS, LEDGER = "corpora/demo/corpus.jsonl", "corpora/demo/ledger.jsonl"
# Blocks, heads, width.
SIZES = [(2, 2, 32), (2, 4, 64), (4, 4, 128), (4, 4, 192)]
COPIES = (0, 1, 4, 16, 64)


def run(output, *arguments):
    """The result of a command, which is run unless its folder is there."""
    if not os.path.exists(output):
        subprocess.run(["verbatim", *arguments, "-o", output], check=True, stdout=subprocess.DEVNULL)
    name = "training.json" if arguments[0] == "train" else "report.json"
    with open(os.path.join(output, name)) as file:
        return json.load(file)


def share(rates):
    return f"{sum(rate['count'] for rate in rates)}/{sum(rate['n'] for rate in rates)}"


def by_copies(rows, of):
    return {copies: of([row for row in rows if row["copies"] == copies]) for copies in COPIES}


def ratios(rows):
    """The median compression ratio, where no prompt that is shorter than the text counts as at most 1."""
    found = sorted(row["ratio"] or 1.0 for row in rows)
    compressed = sum(row["ratio"] is not None for row in rows)
    return f"{compressed}/{len(rows)}, {statistics.median_low(found):.2f}" if found else "-"


def measure(model, work):
    """Rows of the table: what was measured, and its values by copies."""
    def place(name):
        return os.path.join(work, name)

    rows = []
    audit = run(place("audit"), "audit", "--model", model, "--corpus", CORPUS, "--prefix", "20", "--suffix", "20",
                "--decode", "1000", "--near", "50", "--near-edits", "3")["result"]
    copies = next(scaling for scaling in audit["scalings"] if scaling["by"] == "copies in the corpus")
    slope = copies["slope"]
    found = [f"{row['from']}-{row['to']}: {row['extracted']['count']}/{row['extracted']['n']}" for row in copies["rows"]]
    slope = slope and f"{slope['per_doubling'] * 100:.1f} ({slope['low'] * 100:.1f} to {slope['high'] * 100:.1f})"
    rows.append(f"20/20 tokens extracted by copies: {', '.join(found)}; points a doubling: {slope}")
    rate = audit["extracted"]
    rows.append(f"of documents drawn uniformly: {rate['share']:.3f} ({rate['low']:.3f} to {rate['high']:.3f});"
                f" decoding says otherwise of {audit['decoded']['n_disagree']} of {audit['decoded']['exact']['n']}"
                f" ({audit['decoded']['n_disagree_near_ties']} near ties)")
    extract = run(place("extract"), "extract", "--model", model, "--canaries", LEDGER, "--samples", "200",
                  "--max-new-tokens", "100", "--prompt-set", "divergence", "--strategies", "top-n,conditioned",
                  "--corpus", CORPUS, "--verify", "all")["result"]
    canaries = extract["canaries"]
    recited = by_copies(canaries["rows"], lambda some: share([row["recited"] for row in some]))
    recited[0] = share([canaries["controls"]])
    rows.append(f"secrets recited by copies: {recited}")
    exposure = canaries["exposure"]
    bits = by_copies(exposure["canaries"], lambda some: [row["bits"] for row in some if row["bits"] is not None])
    medians = {copies: round(statistics.median(some), 2) for copies, some in bits.items() if some}
    control = exposure["controls"][-1]
    rows.append(f"median exposure in bits: {medians}; controls' mean {control['mean']:.2f}, by chance"
                f" {control['chance_low']:.2f} to {control['chance_high']:.2f}")
    for row in extract["divergence"] if isinstance(extract["divergence"], list) else [extract["divergence"]]:
        rows.append(f"repeated words: left off in {share([row['diverged']])}, recited then in {share([row['memorized']])}")
    for row in extract["at_scale"]["rows"]:
        rows.append(f"{row['strategy']}: {row['n_windows']} memorized 50-token windows in {row['n_tokens']} tokens")
    invert = run(place("invert"), "invert", "--model", model, "--canaries", LEDGER, "--top", "1",
                 "--max-evaluations", "500")["result"]
    first = by_copies(invert["templates"], lambda some: f"{sum(row['known']['rank'] == 1 for row in some)}/{len(some)}")
    rows.append(f"the likeliest filling is the secret: {first}")
    elicit = run(place("elicit"), "elicit", "--model", model, "--canaries", LEDGER, "--steps", "20",
                 "--candidates", "64")["result"]
    rows.append(f"prompts shorter than the secret, median ratio: {by_copies(elicit['texts'], ratios)}")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=tempfile.gettempdir() + "/verbatim-sizes")
    arguments = parser.parse_args()
    for layers, heads, width in SIZES:
        work = os.path.join(arguments.work, f"{layers}x{width}")
        os.makedirs(work, exist_ok=True)
        model = os.path.join(work, "model")
        run(model, "train", CORPUS, "--vocabulary", "512", "--epochs", "12", "--weight-decay", "0.1", "--seed", "2021",
            "--layers", str(layers), "--heads", str(heads), "--width", str(width))
        n_bytes = os.path.getsize(os.path.join(model, "model.safetensors"))
        print(f"\n{layers} blocks of width {width}, {n_bytes // 4 / 1e6:.2f} million parameters", flush=True)
        for row in measure(model, work):
            print(f"- {row}", flush=True)


if __name__ == "__main__":
    main()
