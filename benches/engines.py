"""One search for copies by the program alone and by engines, on one machine, in one run: bytes, wall, CPU, memory.

    python benches/engines.py --program target/release/verbatim [--work FOLDER] [--bytes 400000000] [--modes ...] TEXT...

Needs the wheel, Ray and, for the modes of Spark, pyspark and Java. The corpus is made of text files below TEXT, in an order
drawn from their paths, one document a file, as JSON lines in files of 25 MB. Every mode writes the clean files, which are compared
with those of the program byte for byte. Nodes are a head and two workers on this machine, a core each; `-kill` modes lose
a worker, without a goodbye, once half of the documents are signed.

CPU time is that of the whole machine, which has to be idle otherwise: many processes are gone before anybody can look at
them. Memory is the largest sum, of five looks a second, of what each process of a mode's tree has for itself and its share
of the rest (PSS), shared memory of an object store included.
"""

import argparse
import glob
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time

MODES = ["program", "program-1-thread", "tasks", "ray-stages", "ray-stages-kill", "ray", "ray-kill", "spark"]
FILE_BYTES = 25_000_000
STAGES = ["sign", "link", "verify", "cluster", "verify", "cluster", "rewrite"]  # cluster may ask for more, once


def make_corpus(folder, places, n_bytes):
    walked = [step for place in places for step in os.walk(place)]
    paths = sorted(f"{folder}/{name}" for folder, _, names in walked for name in names)
    os.makedirs(folder)
    files = [open(f"{folder}/part-{i:03}.jsonl", "w") for i in range(max(1, n_bytes // FILE_BYTES))]
    total, n_documents = 0, 0
    random.Random(1).shuffle(paths)
    for path in paths:
        if total >= n_bytes:
            break
        if not os.path.isfile(path) or os.path.islink(path) or not 200 <= os.path.getsize(path) <= 1 << 20:
            continue
        try:
            text = open(path, encoding="utf-8").read()
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            continue
        line = json.dumps({"id": path, "text": text}) + "\n"
        files[min(total // FILE_BYTES, len(files) - 1)].write(line)
        total, n_documents = total + len(line), n_documents + 1
    for file in files:
        file.close()
    print(f"{n_documents} documents, {total} bytes in {len(files)} files")


def digest(folder):
    found = hashlib.sha256()
    for path in sorted(glob.glob(f"{folder}/*.jsonl")):
        found.update(os.path.basename(path).encode() + b"\0" + open(path, "rb").read())
    return found.hexdigest()[:16]


# The modes; each runs in a process of its own.


def program(arguments, corpus, out, *flags):
    command = [arguments.program, "--progress", "none", *flags, "dedup", corpus, "-o", out]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def tasks(arguments, corpus, out):
    """As a scheduler would run them: many tasks a stage, two at a time, in an order that is not theirs."""
    stages, n_tasks, draw = out + ".stages", 24, random.Random(7)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    planned = ["stage", "plan", corpus, "-o", out, "--stages", stages, "--unit-bytes", "64MiB"]
    subprocess.run([arguments.program, *planned], check=True, **quiet)
    for round, stage in enumerate(STAGES):
        before = cpu_of_children()
        words = [["--task", f"{i + 1}/{n_tasks}"] for i in range(n_tasks)] if stage != "cluster" else [[]]
        draw.shuffle(words)
        running = []
        for share in words:
            command = [arguments.program, "--threads", "1", "stage", stage, "--stages", stages, *share]
            running.append(subprocess.Popen(command, **quiet))
            if len(running) == 2:
                assert running.pop(0).wait() == 0
        assert all(task.wait() == 0 for task in running)
        n_bytes = sum(os.path.getsize(path) for path in glob.glob(f"{stages}/{stage}/*"))
        print(f"  {round + 1} {stage}: {cpu_of_children() - before:.1f} CPU s, {n_bytes} bytes in its folder", file=sys.stderr)
    subprocess.run([arguments.program, "stage", "commit", "--stages", stages], check=True, **quiet)


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cluster_of_three():
    from ray.cluster_utils import Cluster

    memory = 400 * 2**20
    head = {"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    return cluster


def lose_a_worker(cluster):
    cluster.remove_node(list(cluster.worker_nodes)[0], allow_graceful=False)
    print("killed a worker", file=sys.stderr)


def ray_stages(arguments, corpus, out, kill):
    cluster, stages = cluster_of_three(), out + ".stages"
    command = [arguments.program, "--progress", "none", "dedup", corpus, "-o", out, "--stages", stages, "--runner", "ray"]
    command += ["--unit-bytes", "64MiB", "--python", sys.executable]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "RAY_ADDRESS": cluster.address})
    while kill and running.poll() is None:
        if len(glob.glob(f"{stages}/sign/unit-*.json")) >= len(os.listdir(corpus)) // 2:
            lose_a_worker(cluster)
            break
        time.sleep(0.05)
    assert running.wait() == 0


def ray_data(arguments, corpus, out, kill):
    import ray
    import ray.data

    import verbatim.ray

    cluster = cluster_of_three()
    ray.init(address=cluster.address, log_to_driver=False)
    exchanged, was_killed = verbatim.ray.exchanged, []

    def killed(rows, *more):
        if kill and not was_killed:
            ray.wait(list(rows), num_returns=len(rows) // 2)
            lose_a_worker(cluster)
            was_killed.append(True)
        return exchanged(rows, *more)

    verbatim.ray.exchanged = killed
    lines = verbatim.ray.read_jsonl(corpus)
    verbatim.ray.write_jsonl(verbatim.ray.dedup(lines, n_bytes="n_bytes"), out)
    # Ray ends a driver whose cluster goes first with an error.
    ray.shutdown()
    cluster.shutdown()


def spark(arguments, corpus, out):
    import pyarrow as pa
    import pyarrow.parquet
    from pyspark.sql import SparkSession

    import verbatim.spark
    from verbatim import jsonl

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = session.config("spark.driver.host", "127.0.0.1").config("spark.driver.memory", "4g")
    session = session.config("spark.sql.shuffle.partitions", "16").getOrCreate()
    first, parquet = 0, out + ".parquet"
    os.makedirs(parquet)
    for number, file in enumerate(jsonl.files(corpus)):
        table = jsonl.read(corpus, file)
        ids = pa.array(range(first, first + table.num_rows), pa.int64())
        pyarrow.parquet.write_table(table.append_column("id", ids), f"{parquet}/{number:02}.parquet")
        first += table.num_rows
    frame = session.read.parquet(parquet)
    verbatim.spark.dedup(frame, n_bytes="n_bytes").write.parquet(out + ".clean")
    clean = pyarrow.parquet.read_table(out + ".clean").sort_by("id")
    for file in jsonl.files(corpus):
        jsonl.write(out, file, clean)
    session.stop()


def run_mode(arguments, mode, corpus, out):
    if mode.startswith("program"):
        program(arguments, corpus, out, *(["--threads", "1"] if mode != "program" else []))
    elif mode == "tasks":
        tasks(arguments, corpus, out)
    elif mode.startswith("ray-stages"):
        ray_stages(arguments, corpus, out, mode.endswith("kill"))
    elif mode.startswith("ray"):
        ray_data(arguments, corpus, out, mode.endswith("kill"))
    else:
        spark(arguments, corpus, out)


# The measuring.


def tree(root):
    """The processes below one, by parent, and those that it has lost to init but which are in its session."""
    children, sessions = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = open(f"/proc/{name}/stat").read().rsplit(") ", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        sessions[int(name)] = int(fields[3])
    found, pending = set(), [root] + [pid for pid, session in sessions.items() if session == root]
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += children.get(pid, [])
    return found


def memory_of(pid):
    """Bytes."""
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def cpu_of_machine():
    """Seconds of all processors in programs and in the kernel."""
    user, nice, system, _idle, _waiting, irq, softirq = map(int, open("/proc/stat").readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measured(command):
    begun, before, peak = time.monotonic(), cpu_of_machine(), 0
    running = subprocess.Popen(command, start_new_session=True)
    while running.poll() is None:
        memory = 0
        for pid in tree(running.pid):
            try:
                memory += memory_of(pid)
            except (OSError, StopIteration):
                continue
        peak = max(peak, memory)
        time.sleep(0.2)
    return running.returncode, time.monotonic() - begun, cpu_of_machine() - before, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--work", default="engines")
    parser.add_argument("--bytes", type=int, default=400_000_000)
    parser.add_argument("--modes", nargs="*", default=MODES, choices=MODES)
    parser.add_argument("--inside", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    arguments = parser.parse_args()
    arguments.program = os.path.abspath(arguments.program)
    work = os.path.abspath(arguments.work)
    corpus = f"{work}/corpus"
    if arguments.inside:
        run_mode(arguments, arguments.inside, corpus, f"{work}/{arguments.inside}")
        return
    os.makedirs(work, exist_ok=True)
    if not os.path.exists(corpus):
        make_corpus(corpus, arguments.texts, arguments.bytes)
    print(f"load before: {os.getloadavg()[0]:.1f}; corpus {digest(corpus)}\n")
    print("| mode | wall s | CPU s | peak MB | clean files |\n|---|---|---|---|---|", flush=True)
    for mode in arguments.modes:
        for left in glob.glob(f"{work}/{mode}") + glob.glob(f"{work}/{mode}.*"):
            shutil.rmtree(left)
        inside = [sys.executable, __file__, "--program", arguments.program, "--work", work, "--inside", mode]
        code, wall, cpu, peak = measured(inside)
        result = digest(f"{work}/{mode}") if code == 0 else f"failed with {code}"
        print(f"| {mode} | {wall:.1f} | {cpu:.1f} | {peak / 1e6:.0f} | {result} |", flush=True)


if __name__ == "__main__":
    main()
