"""Data sets in a few large files, on disk or on a server, see ``docs/shards.md``."""

from mmlandmark.datasets.shards.shard_cache import ShardCache
from mmlandmark.datasets.shards.shard_index import Member, Shard, ShardIndex
from mmlandmark.datasets.shards.shard_sampler import ShardSampler
from mmlandmark.datasets.shards.shard_store import ShardError, ShardStore, StoredImage
from mmlandmark.datasets.shards.shard_writer import ShardWriter
from mmlandmark.datasets.shards.sharded_dataset import ShardedDataset

__all__ = [
    "Member",
    "Shard",
    "ShardCache",
    "ShardError",
    "ShardIndex",
    "ShardSampler",
    "ShardStore",
    "ShardWriter",
    "ShardedDataset",
    "StoredImage",
]
