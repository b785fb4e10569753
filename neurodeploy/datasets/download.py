"""Fetch a dataset, when asked by name and where its licence allows: whole and with the published checksum, or not."""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from neurodeploy.datasets import places
from neurodeploy.datasets.catalog import CATALOG
from neurodeploy.errors import Finding, LoadError, UsageError

TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """One file to fetch.

    Args:
        url: where it is published.
        folder: below the data folder, where it belongs.
        digest: "md5:..." or "sha256:..." of the file as published.
        size: bytes, None where the publisher does not say.
        name: what it is called there.
        unpack: whether it is an archive whose content belongs into the folder, archives inside it too.
    """

    url: str
    folder: str
    digest: str
    size: int | None = None
    name: str = ""
    unpack: bool = False


def _idx(base: str, folder: str, *facts: tuple[str, str, int | None]) -> tuple[File, ...]:
    return tuple(File(f"{base}/{name}", folder, f"md5:{md5}", size, name) for name, md5, size in facts)


FILES = {
    "mnist": _idx(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "mnist",
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
    ),
    "fashion-mnist": _idx(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "fashion-mnist",
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", None),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", None),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", None),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", None),
    ),
    "nmnist": (
        File(
            "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/39c25547-014b-4137-a934-9d29fa53c7a0/"
            "file_downloaded",
            "NMNIST",
            "md5:20959b8e626244a1b502305a9e6e2031",
            name="train.zip",
        ),
        File(
            "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/"
            "file_downloaded",
            "NMNIST",
            "md5:69ca8762b2fe404d9b9bad1103e97832",
            name="test.zip",
        ),
    ),
    "dvs-gesture": (
        File(
            "https://figshare.com/ndownloader/files/38022171",
            "DVSGesture",
            "md5:3a8f0d4120a166bac7591f77409cb105",
            name="ibmGestureTrain.tar.gz",
            unpack=True,
        ),
        File(
            "https://figshare.com/ndownloader/files/38020584",
            "DVSGesture",
            "md5:56070e45dadaa85fff82e0fbfbc06de5",
            name="ibmGestureTest.tar.gz",
            unpack=True,
        ),
    ),
    "cifar10-dvs": (
        File(
            "https://figshare.com/ndownloader/files/38023437",
            "CIFAR10DVS",
            "md5:ce3a4a0682dc0943703bd8f749a7701c",
            name="CIFAR10DVS.zip",
            unpack=True,
        ),
    ),
    "shd": (
        File(
            "https://zenkelab.org/datasets/shd_train.h5.zip",
            "SHD",
            "md5:f3252aeb598ac776c1b526422d90eecb",
            name="shd_train.h5.zip",
            unpack=True,
        ),
        File(
            "https://zenkelab.org/datasets/shd_test.h5.zip",
            "SHD",
            "md5:1503a5064faa34311c398fb0a1ed0a6f",
            name="shd_test.h5.zip",
            unpack=True,
        ),
    ),
    "qtdb": tuple(
        File(
            "https://raw.githubusercontent.com/byin-cwi/Efficient-spiking-networks/"
            f"bfd47cff62d26b0812bb2cc24c5f220245443a32/data/{name}",
            "qtdb_ecg",
            f"sha256:{sha256}",
            size,
            name,
        )
        for name, sha256, size in (
            ("QTDB_train.mat", "72d1a10c96f1540880447e07256835d66da419c0b34f3dff495731a7928c5bc7", 537_262),
            ("QTDB_test.mat", "916f11e21679a5b61988305bbb7cd1e6df8b34f1ed4a157a7a4e295d400ef232", 112_720),
        )
    ),
}
"""Places and checksums as torchvision and tonic 1.7.0 have them; QTDB's are our own, of the commit that is named."""


def download(name: str, folder: str | Path | None = None, progress: places.Progress | None = None) -> Path:
    """Fetch a dataset of `FILES` and return the data folder it lies below.

    Each file arrives under a temporary name, is held against its published checksum, and only then takes its place; a
    download that fails leaves the folder as it was.

    Args:
        folder: $NEURODEPLOY_DATA, or ../shared/data, when None.
        progress: called with (bytes done, bytes total) of the current file; total is 0 while nobody says.

    Raises:
        UsageError: ND050 when there is no such dataset, ND058 when no download of it is offered.
        LoadError: ND059 when a file cannot be fetched or is not the published one.
    """
    if name not in CATALOG:
        known = f"offered are {', '.join(FILES)}"
        raise UsageError(Finding("ND050", "dataset", f"no dataset is called {name!r}", known, "use one of these"))
    if name not in FILES:
        entry = CATALOG[name]
        why = f"its licence: {entry.licence}" if "no download" in entry.licence else "it needs none, or has no checksum"
        what = f"no download of {entry.title} is offered"
        raise UsageError(Finding("ND058", f"dataset {name}", what, why, entry.obtain))
    root = places.data_folders()[0] if folder is None else Path(folder)
    for file in FILES[name]:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
                _fetch(file, Path(temporary) / file.name, progress)
                _settle(Path(temporary), root / file.folder, file)
        except (OSError, ValueError, EOFError, shutil.ReadError, *places.UNREADABLE) as error:
            what = f"{file.name} could not be fetched"
            why = f"{type(error).__name__}: {error}; nothing of it was kept"
            fix = f"try again, or fetch {file.url} ({file.digest}) yourself: {CATALOG[name].obtain}"
            raise LoadError(Finding("ND059", f"dataset {name}", what, why, fix)) from error
    return root


def _fetch(file: File, path: Path, progress: places.Progress | None) -> None:
    """Write the file to `path`.

    Raises:
        ValueError: its size or checksum is not the published one.
    """
    import urllib.request  # slow to import, and hardly ever needed

    algorithm, _, expected = file.digest.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    done = 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "neurodeploy"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response, path.open("wb") as target:
        total = file.size or int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(CHUNK_BYTES):
            target.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    if file.size is not None and done != file.size:
        raise ValueError(f"{done:,} bytes arrived of {file.size:,}")
    if digest.hexdigest() != expected:
        raise ValueError(f"its {algorithm} is {digest.hexdigest()}, and {expected} was published")


def _settle(temporary: Path, folder: Path, file: File) -> None:
    """Move the fetched file, or what is in it, from the temporary folder to its own."""
    if file.unpack:
        inner = temporary / "content"
        _unpack(temporary / file.name, inner)
        for archive in sorted(inner.rglob("*.zip")):
            _unpack(archive, archive.parent)
            archive.unlink()
        entries = sorted(inner.iterdir())
    else:
        entries = [temporary / file.name]
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        _replace(entry, folder / entry.name)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive; names that lead out of the folder are refused (tar) or skipped (zip)."""
    if archive.suffix == ".zip":
        shutil.unpack_archive(archive, folder)
    else:
        shutil.unpack_archive(archive, folder, filter="data")


def _replace(entry: Path, target: Path) -> None:
    """Put an entry in the place of what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    entry.replace(target)
