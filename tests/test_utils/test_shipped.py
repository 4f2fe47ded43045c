"""Files that come with the package."""

import pytest

from mmlandmark.datasets.id_lists import read_ids
from mmlandmark.utils import shipped
from mmlandmark.utils.shipped import config_root, native_sources, shipped_file


def test_files_are_found_among_the_configs():
    name = "fsf_ld/splits/isbi2015/test2.txt"
    assert shipped_file(f"mmlandmark::{name}") == config_root().resolve() / name
    assert shipped_file(name) is None
    assert shipped_file("other::x.txt") is None


@pytest.mark.parametrize(
    "name", ["mmlandmark::fsf_ld/none.txt", "mmlandmark::../setup.py", "mmlandmark::fsf_ld"]
)
def test_nothing_else_is(name):
    with pytest.raises(FileNotFoundError, match="is not among the configs in"):
        shipped_file(name)


def test_ids_of_a_shipped_list_need_no_data_root(tmp_path):
    ids, where = read_ids("mmlandmark::fsf_ld/splits/isbi2015/test1.txt", str(tmp_path))
    assert len(ids) == 80
    assert where.endswith("test1.txt")


def test_sources_of_the_operators_are_in_a_checkout_only(tmp_path, monkeypatch):
    assert (native_sources() / "module.cpp").is_file()
    monkeypatch.setattr(
        shipped, "__file__", str(tmp_path / "site-packages" / "mmlandmark" / "utils" / "shipped.py")
    )
    with pytest.raises(FileNotFoundError, match="a checkout only, not in a wheel"):
        native_sources()


def test_detectors_are_listed_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "detector_root", lambda: tmp_path / "detectors")
    assert shipped.shipped_detectors() == {}
    (tmp_path / "detectors").mkdir()
    for name in ("hand37.mml.pth", "ceph19.mml.pth", "notes.txt"):
        (tmp_path / "detectors" / name).touch()
    assert list(shipped.shipped_detectors()) == ["ceph19", "hand37"]
