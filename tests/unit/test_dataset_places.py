"""Where data come from: refusals that say where they were looked for, and downloads that are whole or nothing."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding, download, places
from neurodeploy.datasets.catalog import CATALOG
from neurodeploy.datasets.download import FILES, File
from neurodeploy.errors import LoadError, UsageError

NAMES = (
    "digits", "mnist", "fashion-mnist", "nmnist", "nmnist-simulated", "dvs-gesture", "cifar10-dvs", "cifar10",
    "cifar100", "timit", "timit-sample", "fsdd", "qtdb", "shd",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, the only place data are looked for."""
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NEURODEPLOY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def codes(caught: pytest.ExceptionInfo) -> list[str]:
    return [finding.code for finding in caught.value.findings]


def test_these_are_the_datasets() -> None:
    """Each with one line that says what it is and its licence, and a default encoding."""
    assert set(datasets.NAMES) == set(NAMES) == set(datasets.DESCRIPTIONS)
    for name in NAMES:
        assert "\n" not in datasets.DESCRIPTIONS[name]
        assert CATALOG[name].licence in datasets.DESCRIPTIONS[name]
        assert isinstance(datasets.default_encoding(name), Encoding)
    with pytest.raises(UsageError) as caught:
        datasets.default_encoding("svhn")
    assert codes(caught) == ["ND050"]


def test_simulated_recordings_are_always_called_so() -> None:
    """Title and description say simulated, or computed; N-MNIST's own say real."""
    assert CATALOG["nmnist-simulated"].title.startswith("simulated")
    assert "never N-MNIST itself" in datasets.DESCRIPTIONS["nmnist-simulated"]
    assert "real" in datasets.DESCRIPTIONS["nmnist"]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"digits"}))
@pytest.mark.parametrize("split", datasets.SPLITS)
def test_absent_data_are_told_with_the_places_and_the_way(folder: Path, name: str, split: str) -> None:
    """The refusal names the folder searched and how to get the data; nothing is fetched or written."""
    if name == "fashion-mnist" and Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("Fashion-MNIST is installed, wherever NEURODEPLOY_DATA points")
    with pytest.raises(LoadError) as caught:
        datasets.load(name, split)
    (finding,) = caught.value.findings
    assert finding.code == "ND051"
    assert str(folder) in finding.why
    assert finding.fix == CATALOG[name].obtain
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", sorted(FILES))
def test_what_can_be_downloaded_says_so_when_absent(name: str) -> None:
    assert f"download('{name}')" in CATALOG[name].obtain
    assert all(len(file.digest.partition(":")[2]) in (32, 64) for file in FILES[name])


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(FILES)))
def test_what_no_licence_or_checksum_allows_is_not_offered(folder: Path, name: str) -> None:
    """The refusal says where to get it instead."""
    with pytest.raises(UsageError) as caught:
        download(name)
    (finding,) = caught.value.findings
    assert finding.code == "ND058"
    assert finding.fix == CATALOG[name].obtain
    assert not list(folder.iterdir())


def test_a_download_of_nothing_known_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        download("svhn")
    assert codes(caught) == ["ND050"]


def published(path: Path, **changed: object) -> File:
    """Return a file to fetch from this machine, with its true checksum and size."""
    content = path.read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    facts = {
        "url": path.as_uri(),
        "folder": "qtdb_ecg",
        "digest": f"md5:{md5}",
        "size": len(content),
        "name": path.name,
    }
    return File(**{**facts, **changed})


def test_a_download_takes_its_place(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies where `load` looks, and progress counts its bytes."""
    (tmp_path / "QTDB_train.mat").write_bytes(bytes(3 << 20))
    monkeypatch.setitem(FILES, "qtdb", (published(tmp_path / "QTDB_train.mat"),))
    calls: list[tuple[int, int]] = []
    assert folder == download("qtdb", progress=lambda *call: calls.append(call))
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.mat")] == ["qtdb_ecg/QTDB_train.mat"]
    assert calls == [(n << 20, 3 << 20) for n in (1, 2, 3)]
    assert len(list(folder.rglob("*"))) == 2


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"digest": "md5:" + "0" * 32}, id="checksum"),
        pytest.param({"size": 9}, id="size"),
        pytest.param({"url": "file:///nowhere/at/all"}, id="absent"),
        pytest.param({"url": "http://localhost:9/x"}, id="no server"),
        pytest.param({"url": "nonsense"}, id="no url"),
        pytest.param({"unpack": True}, id="no archive"),
    ],
)
def test_a_failing_download_leaves_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict
) -> None:
    """Neither a part of the file nor a folder for it; the refusal says why and how to go on by hand."""
    (tmp_path / "x.zip").write_bytes(b"ten bytes.")
    monkeypatch.setitem(FILES, "qtdb", (published(tmp_path / "x.zip", **changed),))
    with pytest.raises(LoadError, match="nothing of it was kept") as caught:
        download("qtdb")
    assert codes(caught) == ["ND059"]
    assert CATALOG["qtdb"].obtain in caught.value.findings[0].fix
    assert not list(folder.iterdir())


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(bytes(3 << 20))
    monkeypatch.setitem(FILES, "qtdb", (published(tmp_path / "x"),))

    def stop(done: int, total: int) -> None:
        if done > 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download("qtdb", progress=stop)
    assert not list(folder.iterdir())


def test_archives_are_unpacked_with_those_inside(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .zip of .zips, as CIFAR10-DVS comes, and a .tar.gz, as DVS Gesture comes, take the place of what was there."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("cat/cifar10_cat_1.aedat4", "events")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("cat.zip", inner.getvalue())
    with tarfile.open(tmp_path / "outer.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "outer.zip", "ibmGestureTrain/user01_led/3.npy")
    files = (
        published(tmp_path / "outer.zip", folder="CIFAR10DVS", unpack=True),
        published(tmp_path / "outer.tar.gz", folder="DVSGesture", unpack=True),
    )
    monkeypatch.setitem(FILES, "qtdb", files)
    (folder / "CIFAR10DVS/cat").mkdir(parents=True)
    (folder / "CIFAR10DVS/cat/old").touch()
    download("qtdb")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["CIFAR10DVS/cat/cifar10_cat_1.aedat4", "DVSGesture/ibmGestureTrain/user01_led/3.npy"]


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../escaped"))
    monkeypatch.setitem(FILES, "qtdb", (published(tmp_path / "x.tar.gz", unpack=True),))
    with pytest.raises(LoadError) as caught:
        download("qtdb")
    assert codes(caught) == ["ND059"]
    assert not list(tmp_path.rglob("escaped"))


# the cache


def test_what_is_cached_is_built_once(folder: Path) -> None:
    """The second call reads what the first wrote, as arrays that cannot be written to."""
    builds: list[int] = []

    def build() -> dict[str, np.ndarray]:
        builds.append(1)
        return {"a": np.arange(5), "b": np.zeros((2, 3), np.uint8)}

    for _ in range(2):
        arrays = places.cached("test/key", ["a", "b"], build)
        assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
        assert arrays["b"].shape == (2, 3)
        with pytest.raises(ValueError, match="read-only"):
            arrays["a"][0] = 1
    assert len(builds) == 1


def test_the_first_of_two_builders_is_kept(folder: Path) -> None:
    """Another process that ends meanwhile is not disturbed, and nothing is left beside it."""

    def build() -> dict[str, np.ndarray]:
        places.cached("test/key", ["a"], lambda: {"a": np.arange(3)})
        return {"a": np.arange(9)}

    assert len(places.cached("test/key", ["a"], build)["a"]) == 3
    assert [path.name for path in (places.cache_folder() / "test").iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "~/.cache/neurodeploy"),
        ("linux", {"XDG_CACHE_HOME": "/somewhere"}, "/somewhere/neurodeploy"),
        ("darwin", {}, "~/Library/Caches/neurodeploy"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/neurodeploy"),
        ("linux", {"NEURODEPLOY_CACHE": "/mine", "XDG_CACHE_HOME": "/somewhere"}, "/mine"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("NEURODEPLOY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert places.cache_folder() == Path(expected).expanduser()


def test_a_replaced_file_has_another_fingerprint(tmp_path: Path) -> None:
    """So data read from it are not confused with those of the file before; folders count every file."""
    (tmp_path / "a").write_bytes(b"1")
    before = [places.fingerprint(path) for path in (tmp_path, tmp_path / "a")]
    assert before == [places.fingerprint(path) for path in (tmp_path, tmp_path / "a")]
    (tmp_path / "a").write_bytes(b"12")
    after = [places.fingerprint(path) for path in (tmp_path, tmp_path / "a")]
    assert not set(before) & set(after)


def archives(folder: Path) -> Iterator[Path]:
    (folder / "tree/a").mkdir(parents=True)
    (folder / "tree/a/x.bin").write_bytes(b"content")
    (folder / "tree/a/y.txt").write_bytes(b"other")
    yield folder / "tree"
    with zipfile.ZipFile(folder / "tree.zip", "w") as archive:
        for name in ("x.bin", "y.txt"):
            archive.write(folder / "tree/a" / name, f"a/{name}")
    yield folder / "tree.zip"
    with tarfile.open(folder / "tree.tar.xz", "w:xz") as tar:
        tar.add(folder / "tree/a", "a")
    yield folder / "tree.tar.xz"


def test_folders_and_archives_are_read_alike(tmp_path: Path) -> None:
    """Only what is wanted, with its name and content; cut in half, an archive is a LoadError."""
    for path in archives(tmp_path):
        found = list(places.members(path, lambda name: name.endswith(".bin")))
        assert found == [("a/x.bin", b"content")]
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            with pytest.raises(LoadError) as caught:
                list(places.members(path, lambda name: True))
            assert codes(caught) == ["ND052"]
