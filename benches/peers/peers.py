"""The peers, each as a process: `peers.py TOOL CORPUS KEPT` writes the ids that the tool keeps, one a line."""

import json
import sys


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


if __name__ == "__main__":
    tool, corpus, kept = sys.argv[1:]
    ids, texts = load(corpus)
    stays = {"python-exact": python_exact, "rensa": rensa, "gaoya": gaoya, "datasketch": datasketch}[tool](texts)
    with open(kept, "w") as out:
        out.writelines(f"{name}\n" for name, stay in zip(ids, stays) if stay)
