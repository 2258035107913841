"""Pairs of noise and endpoint on disk: made once, read at random, refused where they do not fit."""

from reflow.cache.command import verify_command
from reflow.cache.identity import Identity, data_content, noise_stream
from reflow.cache.layout import PRECISIONS, STORES, Layout, Samples
from reflow.cache.manifest import MANIFEST, Manifest, OtherPairsError, settle
from reflow.cache.read import PairCache
from reflow.cache.shards import Shape, shard_bytes, sweep, write_shard
from reflow.cache.verify import Problem, verify, verify_shard
from reflow.cache.work import Part, Work, drop_damaged, missing_work, seal

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
    "Shape",
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
