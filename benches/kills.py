"""Kills a run again and again at random moments, lets it go on each time, and compares what it writes with a whole run.

    python benches/kills.py --kills 50 -- verbatim audit --model MODEL --corpus CORPUS     # any command with --scratch

Every attempt is killed (SIGKILL) until there were as many kills as asked for; then one runs to its end. Answers are on
disk every 20 seconds, so a run that is killed sooner goes on from where it began: the time to the next kill is drawn from
5 to `--longest` seconds. Compared is every file of the output folder, of report.json the part `result`.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time


def contents(folder):
    """What a run wrote, by name; of the report the part that must not differ."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            data = open(path, "rb").read()
            if name == "report.json":
                data = json.dumps(json.loads(data)["result"], sort_keys=True).encode()
            if name not in ("report.html", "key"):
                found[os.path.relpath(path, folder)] = hashlib.sha256(data).hexdigest()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds that an attempt lives at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "key")
        with open(key, "wb") as out:
            out.write(bytes(32))
        whole, killed, scratch = (os.path.join(folder, name) for name in ("whole", "killed", "scratch"))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        begun = time.monotonic()
        subprocess.run([*command, "--key", key, "-o", whole], check=True, **quiet)
        seconds = time.monotonic() - begun
        attempt = [*command, "--key", key, "-o", killed, "--scratch", scratch]
        n_kills, n_whole = 0, 0
        while n_kills < arguments.kills:
            child = subprocess.Popen(attempt, **quiet)
            try:
                child.wait(draw.uniform(0.05, min(arguments.longest, seconds)))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                n_kills += 1
                continue
            # It came to its end before its time: compare, and begin anew.
            if child.returncode:
                sys.exit(f"an attempt failed with {child.returncode} after {n_kills} kills")
            n_whole += 1
            if contents(killed) != contents(whole):
                sys.exit(f"after {n_kills} kills the bytes differ")
            shutil.rmtree(killed)
        subprocess.run(attempt, check=True, **quiet)
        same = contents(killed) == contents(whole)
        print(f"{n_kills} kills, {n_whole + 1} runs to the end, {len(contents(whole))} files of {seconds:.0f} s:"
              f" {'the same bytes' if same else 'THE BYTES DIFFER'}")
        sys.exit(not same)


if __name__ == "__main__":
    main()
