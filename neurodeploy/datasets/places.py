"""Where data lie on this machine, how archives are read, and where what was computed from them is kept."""

import hashlib
import lzma
import os
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from neurodeploy.errors import Finding, LoadError

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Wanted = Callable[[str], bool]
"""Whether a file is to be read, by its name relative to the archive, with "/" between folders."""

UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError,
    tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error,
)  # fmt: skip
"""What the standard library raises on archives and arrays that are cut off, damaged or of another kind."""


def data_folders() -> tuple[Path, ...]:
    """Return where data are looked for: $NEURODEPLOY_DATA alone when set, otherwise ../shared/data.

    Relative to the current directory first, then to the repository.
    """
    chosen = os.environ.get("NEURODEPLOY_DATA")
    if chosen:
        return (Path(chosen),)
    repository = Path(__file__).resolve().parents[2]
    return (Path("../shared/data"), repository / "../shared/data")


def cache_folder() -> Path:
    """Return where computed data are kept: $NEURODEPLOY_CACHE, or neurodeploy/ in the platform's folder for caches."""
    chosen = os.environ.get("NEURODEPLOY_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "neurodeploy"


def find(dataset: str, places: Sequence[str | Path], obtain: str) -> Path:
    """Return the first of `places`, below a data folder or absolute, that exists.

    Args:
        dataset: what is looked for, in the user's words.
        obtain: how to get it, the remedy when it is nowhere.

    Raises:
        LoadError: ND051 with every place that was searched.
    """
    candidates = [root / place for root in data_folders() for place in places]
    for path in candidates:
        if path.exists():
            return path
    searched = ", ".join(dict.fromkeys(os.path.normpath(path) for path in candidates))
    why = f"looked for {searched}; nothing is downloaded unasked"
    raise LoadError(Finding("ND051", f"dataset {dataset}", f"{dataset} was not found", why, obtain))


def members(path: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the wanted files in a folder, a .zip or a tar archive; nothing is unpacked to disk.

    Raises:
        LoadError: ND052 when the archive is damaged.
    """
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                name = file.relative_to(path).as_posix()
                if wanted(name) and file.is_file():
                    yield name, file.read_bytes()
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if wanted(name):
                        yield name, archive.read(name)
        else:
            with tarfile.open(path) as tar:
                for entry in tar:
                    file_object = tar.extractfile(entry) if entry.isfile() and wanted(entry.name) else None
                    if file_object is not None:
                        yield entry.name, file_object.read()
    except UNREADABLE as error:
        raise damaged(path, f"cannot be read: {error}") from error


def damaged(path: Path, what: str, why: str = "the published files are otherwise") -> LoadError:
    """Return the error of a data file that is not what its name says."""
    return LoadError(Finding("ND052", str(path), f"{path.name} {what}", why, "fetch the file again"))


def missing(package: str, what: str, error: ImportError) -> LoadError:
    """Return the error of a package that is needed to read `what` and is not installed."""
    why = f"{error}; it is needed for this dataset only, so it is not installed with neurodeploy"
    return LoadError(Finding("ND056", what, f"{what} cannot be read without {package}", why, f"pip install {package}"))


def fingerprint(path: Path) -> str:
    """Return 16 hex digits that change when the file, or a file in the folder, is replaced: names, sizes and times."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256(str(path.resolve()).encode())
    for file in files:
        facts = file.stat()
        digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def cached(key: str, names: Sequence[str], build: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return arrays by name, read-only views of files: built the first time, kept below `cache_folder` from then on.

    Written whole or not at all, under a temporary name that becomes `key` at the end; of two processes that build the
    same at once, the first to end is kept.

    Args:
        key: names the content and the version of the code that made it, "/" between folders.
        names: of the arrays that `build` returns.

    Raises:
        LoadError: ND057 when the cache cannot be written, ND052 when it cannot be read.
    """
    folder = cache_folder() / key
    if not folder.is_dir():
        arrays = build()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
                whole = Path(temporary) / folder.name
                whole.mkdir()
                for name in names:
                    np.save(whole / f"{name}.npy", arrays[name], allow_pickle=False)
                if not folder.is_dir():
                    _rename(whole, folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except UNREADABLE as error:
        fix = f"delete {folder}; it is built again"
        finding = Finding("ND052", str(folder), f"a cached array cannot be read: {error}", "the cache is damaged", fix)
        raise LoadError(finding) from error


def _rename(whole: Path, folder: Path) -> None:
    try:
        whole.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _unwritable(folder: Path, error: OSError) -> LoadError:
    what = f"computed data cannot be kept in {folder.parent}"
    why = f"{error}; they take up to a few minutes to compute, so they are kept"
    return LoadError(Finding("ND057", str(folder), what, why, "set NEURODEPLOY_CACHE to a folder with room"))
