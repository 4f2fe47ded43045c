"""What tests of shards share."""

from __future__ import annotations

import pytest

from test_datasets.test_shards import packed_data


@pytest.fixture
def index(tmp_path):
    """Index of eight samples in three shards, in the folder ``shards``."""
    return packed_data.write(tmp_path / "shards")
