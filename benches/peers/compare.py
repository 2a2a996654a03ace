"""Runs verbatim and its peers in turns on one corpus and prints medians, ratios and, with --truth, quality."""

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
NEAR = ["--words", "whitespace", "--normalize", "none"]


def commands(program, corpus, folder):
    """The command of each tool, and the file in which it leaves the ids that it keeps."""
    found = {}
    ours = {
        "verbatim": NEAR,
        "verbatim defaults": [],
        "verbatim --all-pairs": ["--exact", "--all-pairs", *NEAR],
        "verbatim --exact": ["--exact", "--normalize", "none"],
    }
    for name, flags in ours.items():
        out = folder / name.replace(" ", "_")
        command = [program, "dedup", corpus, "-o", out, "--force", "--emit", "ids", "--allow-source-loss", *flags]
        found[name] = (command, out / "ids" / "kept.txt")
    for name in ["rensa", "gaoya", "datasketch", "datatrove", "text-dedup", "python-exact"]:
        kept = folder / f"{name}.kept"
        found[name] = ([sys.executable, HERE / "peers.py", name, corpus, kept], kept)
    return found


def measured(command):
    """Wall clock and processor time in seconds, and the largest resident set in MB."""
    with tempfile.TemporaryFile() as told:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            told.seek(0)
            sys.exit(f"{command} ended with {process.returncode}: {told.read().decode(errors='replace')[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Components:
    """Documents that true pairs join."""

    def __init__(self, ids):
        self.parent = {name: name for name in ids}

    def find(self, name):
        while self.parent[name] != name:
            self.parent[name] = name = self.parent[self.parent[name]]
        return name

    def join(self, a, b):
        self.parent[self.find(a)] = self.find(b)

    def of(self, names):
        return {self.find(name) for name in names}


def quality(truth, corpus, kept_file):
    with open(corpus, encoding="utf-8") as lines:
        ids = {int(re.search(r'"id": ?(\d+)', line)[1]) for line in lines}
    with open(truth) as lines:
        rows = (line.split("\t") for line in lines)
        pairs = [(int(a), int(b)) for a, b, similarity in rows if float(similarity) >= 0.8]
    components = Components(ids)
    for a, b in pairs:
        components.join(a, b)
    kept = {int(line) for line in open(kept_file)}
    removed = ids - kept
    copies = {name for pair in pairs for name in pair}
    found = sum(not (a in kept and b in kept) for a, b in pairs)
    lost = len(components.of(ids) - components.of(kept))
    right = sum(name in copies for name in removed)
    return f"removed {len(removed)}, pairs {found}/{len(pairs)}, right {right}/{len(removed)}, lost components {lost}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("corpus")
    arguments.add_argument("--program", default=HERE / "../../target/release/verbatim")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--truth")
    arguments.add_argument("--tools", nargs="+")
    arguments = arguments.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    tools = commands(arguments.program, arguments.corpus, folder)
    tools = {name: tools[name] for name in arguments.tools or tools}
    runs = {name: [] for name in tools}
    for _ in range(arguments.runs):
        for name, (command, _) in tools.items():
            runs[name].append(measured(command))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in runs.items()}
    base = medians[next(iter(tools))][0]
    print(f"{'tool':<20}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'ratio':>8}")
    for name, (wall, cpu, peak) in medians.items():
        print(f"{name:<20}{wall:>8.2f}{cpu:>8.2f}{peak:>9.0f}{wall / base:>7.1f}x")
        if arguments.truth:
            print(f"    {quality(arguments.truth, arguments.corpus, tools[name][1])}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
