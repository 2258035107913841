"""Pairs of noise and endpoint on disk: made once, read at random, refused where they do not fit."""

from reflow.data.content import data_content
from reflow.endpoints.identity import Identity, noise_stream
from reflow.endpoints.layout import PRECISIONS, STORES, Layout, Samples
from reflow.endpoints.manifest import MANIFEST, Manifest, OtherPairsError, settle
from reflow.endpoints.read import PairCache
from reflow.endpoints.shards import shard_bytes, sweep, write_shard
from reflow.endpoints.verify import Problem, verify, verify_command, verify_shard
from reflow.endpoints.work import Part, Work, drop_damaged, missing_work, seal

__all__ = [
    "MANIFEST",
    "PRECISIONS",
    "STORES",
    "Identity",
    "Layout",
    "Manifest",
    "OtherPairsError",
    "PairCache",
    "Part",
    "Problem",
    "Samples",
    "Work",
    "data_content",
    "drop_damaged",
    "missing_work",
    "noise_stream",
    "seal",
    "settle",
    "shard_bytes",
    "sweep",
    "verify",
    "verify_command",
    "verify_shard",
    "write_shard",
]
