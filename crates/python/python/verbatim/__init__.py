"""Deduplication of training text and membership signals of models, as kernels over Arrow record batches.

A kernel takes a batch (`pyarrow.RecordBatch`, or a `pyarrow.Table`, whose chunks are joined) and gives a batch. It
depends on nothing but its arguments, sorts what it is given, and lets other threads run, so that any engine can call it
on any machine, in any order and more than once. What comes out at the end is, byte for byte, what the program
`verbatim dedup` decides about the same documents.

`verbatim.ray` runs them on Ray, `verbatim.spark` on Spark.
"""

from verbatim.config import Config
from verbatim.kernels import Clusters, cluster, count, link, rewrite, route, score, sign, verify

try:
    from verbatim._verbatim import Model
except ImportError:  # a build without the feature `models`
    Model = None  # type: ignore[assignment, misc]

__all__ = ["Clusters", "Config", "Model", "cluster", "count", "link", "rewrite", "route", "score", "sign", "verify"]
