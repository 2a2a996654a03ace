"""The peers, each as a process: `peers.py TOOL CORPUS KEPT` writes the ids that the tool keeps, one a line."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile


def load(path):
    with open(path, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [record["id"] for record in records], [record["text"] for record in records]


def shingles(text, n=5):
    words = text.split()
    return [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]


def python_exact(texts):
    """What a short script does for exact copies: a set of hashes."""
    from xxhash import xxh3_128_digest

    seen = set()
    for text in texts:
        digest = xxh3_128_digest(text.encode())
        yield digest not in seen
        seen.add(digest)


def rensa(texts):
    from rensa import RMinHashDeduplicator

    finder = RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True, num_bands=16, seed=42)
    return finder.add_pairs((str(i), shingles(text)) for i, text in enumerate(texts))


def gaoya(texts):
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(32, 0.8, 16, 8, None, "word", False, (5, 5), "smallvec")
    index.minhash_index.par_bulk_insert_docs(list(range(len(texts))), texts)
    gone = set()
    for i, similar in enumerate(index.minhash_index.par_bulk_query(texts)):
        stays = not any(j < i and j not in gone for j in similar)
        if not stays:
            gone.add(i)
        yield stays


def datasketch(texts):
    from datasketch import MinHash, MinHashLSH
    from xxhash import xxh32_intdigest

    empty = MinHash(num_perm=128, hashfunc=xxh32_intdigest, seed=1)
    index = MinHashLSH(num_perm=128, params=(16, 8))
    for i, text in enumerate(texts):
        signature = empty.copy()
        signature.update_batch([shingle.encode() for shingle in set(shingles(text))])
        stays = not index.query(signature)
        if stays:
            index.insert(i, signature, check_duplication=False)
        yield stays


def datatrove(corpus, folder):
    """Its four stages as two processes, with words at white space: its own tokenizer alone takes longer than all else."""
    import datatrove.pipeline.dedup.minhash as minhash
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    class WhiteSpace:
        def word_tokenize(self, text):
            return text.split()

    minhash.load_word_tokenizer = lambda language: WhiteSpace()
    inputs = folder / "in"
    inputs.mkdir()
    n_tasks = 4
    subprocess.run(["split", "-n", f"l/{n_tasks}", "--additional-suffix=.jsonl", corpus, inputs / "part-"], check=True)
    n_buckets = 14
    config = minhash.MinhashConfig(
        n_grams=5, num_buckets=n_buckets, hashes_per_bucket=8, hash_config=HashConfig(precision=64)
    )
    signatures, buckets, gone, kept = (str(folder / name) for name in ["signatures", "buckets", "gone", "kept"])

    def reader():
        return JsonlReader(str(inputs), id_key="id")

    stages = [
        (n_tasks, [reader(), minhash.MinhashDedupSignature(signatures, config=config, language="eng_Latn")]),
        (n_buckets, [minhash.MinhashDedupBuckets(signatures, buckets, config=config)]),
        (1, [minhash.MinhashDedupCluster(buckets, gone, config=config)]),
        (n_tasks, [reader(), minhash.MinhashDedupFilter(gone), JsonlWriter(kept, compression=None)]),
    ]
    for i, (tasks, steps) in enumerate(stages):
        LocalPipelineExecutor(steps, tasks=tasks, workers=2, logging_dir=str(folder / f"log{i}")).run()
    for part in sorted(pathlib.Path(kept).glob("*.jsonl")):
        with open(part, encoding="utf-8") as lines:
            # Its writer leaves out an id that is 0.
            yield from (json.loads(line).get("id", 0) for line in lines)


def text_dedup(corpus, folder):
    """With the comparing that it calls a check for false positives."""
    from datasets import load_from_disk

    settings = folder / "config.toml"
    settings.write_text(f"""
[input]
input_type = "local_files"
file_type = "json"
[input.read_arguments]
path = "json"
data_files = "{os.path.abspath(corpus)}"
split = "train"
cache_dir = "{folder}/cache"
[algorithm]
algorithm_name = "minhash"
text_column = "text"
seed = 42
batch_size = 10000
num_perm = 128
bands = 16
rows = 8
threshold = 0.8
hash_bits = 64
ngram_size = 5
check_false_positive = true
num_proc = 2
[output]
output_dir = "{folder}/output"
clean_cache = false
save_clusters = true
[debug]
enable_profiling = false
""")
    environment = {**os.environ, "HF_HOME": f"{folder}/home", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, "-m", "text_dedup.minhash"],
        cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    yield from load_from_disk(f"{folder}/output")["id"]


def kept_ids(tool, corpus):
    if tool in ["datatrove", "text-dedup"]:
        with tempfile.TemporaryDirectory() as folder:
            yield from {"datatrove": datatrove, "text-dedup": text_dedup}[tool](corpus, pathlib.Path(folder))
        return
    ids, texts = load(corpus)
    stays = {"python-exact": python_exact, "rensa": rensa, "gaoya": gaoya, "datasketch": datasketch}[tool](texts)
    yield from (name for name, stay in zip(ids, stays) if stay)


if __name__ == "__main__":
    tool, corpus, kept = sys.argv[1:]
    with open(kept, "w") as out:
        out.writelines(f"{name}\n" for name in kept_ids(tool, corpus))
