"""A data set in shards, which may lie on another machine."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from mmlandmark.datasets.annotation_files import annotations_of
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.shards.shard_cache import ShardCache
from mmlandmark.datasets.shards.shard_index import STORED, ShardIndex
from mmlandmark.datasets.shards.shard_store import ShardStore, StoredImage
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class ShardedDataset(LandmarkDataset):
    """Images and landmarks that ``mmlandmark pack-data --shards`` wrote, read without unpacking a shard.

    An image is read as a range of bytes of its shard, through MMEngine's file backends. What is read is
    compared with the hashes of the index. ``img_path`` of records is None: no file on this machine has the
    image alone.

    Args:
        ann_file: The index, a path or an address with ``http``, ``https`` or ``s3``; its shards lie beside
            it.
        data_root: Folder that a path is relative to.
        backend_args: See :func:`~mmlandmark.utils.file_backends.open_backend`, such as
            ``dict(endpoint_url="http://store:9000")`` for ``s3``.
        cache_dir: Folder on this machine in which images are kept as they are in the shards; None keeps none.
        cache_gb: Limit of this folder, see :class:`ShardCache`.
        max_member_gb: Size of the largest image file that is read.
        **kwargs: See :class:`LandmarkDataset`; those about files of images do not matter.

    Raises:
        FileNotFoundError: There is no index.
        OSError: The server does not answer well.
        ShardError: When an image is read: its shard is missing, cut off or altered.
        ValueError: The index is not valid, or an argument is not.
    """

    def __init__(
        self,
        ann_file: str = "",
        data_root: str = "",
        *,
        backend_args: dict[str, Any] | None = None,
        cache_dir: str | None = None,
        cache_gb: float = 10.0,
        max_member_gb: float = 4.0,
        **kwargs: Any,
    ) -> None:
        if (kwargs.get("image_cache") or {}).get("mode", "ram") != "ram":
            raise ValueError("ShardedDataset: an image cache on disk needs image files; use cache_dir")
        self.backend_args, self.most = backend_args, int(max_member_gb * 2**30)
        self._store: ShardStore | None = None
        self.cache = None if cache_dir is None else ShardCache(cache_dir, cache_gb)
        kwargs["missing_images"] = "keep"
        super().__init__(ann_file=ann_file, data_root=data_root, **kwargs)

    @property
    def store(self) -> ShardStore:
        """Where the images are read from."""
        if self._store is None:
            self.full_init()
        assert self._store is not None
        return self._store

    def load_records(self) -> list[dict[str, Any]]:
        """Return the entries of the index; see :meth:`LandmarkDataset.load_records`."""
        if not self.ann_file:
            raise ValueError(
                "ShardedDataset needs ann_file, the index that mmlandmark pack-data --shards wrote"
            )
        index, schema = ShardIndex.read(str(self.ann_file), self.backend_args), self._full_schema
        annotations = annotations_of(
            dict(schema=index.schema, samples=list(index.samples)),
            self.ann_file,
            None if schema is None else schema.dims,
            None if schema is None else schema.landmarks,
        )
        if schema is None:
            self._full_schema = annotations.schema
        # The entries are in the records, so the store, which workers get, does without.
        self._store = ShardStore(replace(index, samples=()), self.backend_args, self.cache, self.most)
        for record in annotations.records:
            record.pop("image")
            record["img_path"] = None
        return annotations.records

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Return the record at ``idx`` with its image as ``image_source``, a :class:`StoredImage`."""
        record = super().get_data_info(idx)
        return dict(record, image_source=StoredImage(self.store, record[STORED]))

    @cached_property
    def shard_numbers(self) -> np.ndarray:
        """The shard of every sample, (N,) int64."""
        return np.array([LandmarkDataset.get_data_info(self, i)[STORED].shard for i in range(len(self))])
