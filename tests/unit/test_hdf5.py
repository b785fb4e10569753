"""HDF5 files as plain values: what h5py wrote is what is read, within bounds, whatever the file is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.errors import LoadError, NeurodeployError
from neurodeploy.frontends import hdf5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.h5"


def test_arrays_texts_and_groups_are_read_as_they_were_written(path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "whole": np.arange(6).reshape(2, 3),
        "single": random.normal(size=(3, 4)).astype(np.float32),
        "swapped": random.normal(size=5).astype(">f8"),
        "half": random.normal(size=5).astype(np.float16),
        "truth": np.array([True, False]),
        "lone": np.float64(2.5),
        "none": np.zeros((0, 3)),
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"group/{name}"] = array
        file["packed"] = h5py.SoftLink("/group/whole")
        file["word"] = "Wörter"
        file.create_dataset("pairs", data=[["a", "b"], ["c", "d"]], dtype=h5py.string_dtype())
        file["empty"] = h5py.Empty("f4")
    tree = hdf5.read(path)
    assert isinstance(tree["group"], dict)
    for name, array in arrays.items():
        found = tree["group"][name]
        assert isinstance(found, np.ndarray)
        assert found.shape == array.shape
        assert np.array_equal(found, array)
    assert tree["word"] == hdf5.Text(("Wörter",), ())
    assert tree["pairs"] == hdf5.Text(("a", "b", "c", "d"), (2, 2))
    assert tree["packed"] == hdf5.Unread("a link that leads elsewhere")
    assert tree["empty"] == hdf5.Unread("an empty dataset")


def test_packed_data_are_read(path: Path) -> None:
    with h5py.File(path, "w") as file:
        packed = file.create_dataset("zeros", data=np.zeros((200, 300)), compression="gzip")
        assert packed.id.get_storage_size() < packed.nbytes / 100
    assert np.array_equal(hdf5.read(path)["zeros"], np.zeros((200, 300)))


@pytest.mark.parametrize(
    "declared",
    [
        {"shape": (2**40,), "dtype": "f4"},
        {"shape": (2**30, 2**10), "dtype": "f4", "chunks": (2**14, 2**10), "compression": "gzip"},
        {"shape": (4, 6), "maxshape": (None, None), "dtype": "f4", "chunks": (2**12, 2**12), "compression": "gzip"},
        {"shape": (2**28,), "dtype": h5py.string_dtype()},
    ],
    ids=["never written", "packed", "chunk", "texts"],
)
def test_what_is_declared_larger_than_the_file_can_hold_is_refused_unread(path: Path, declared: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("huge", **declared)
        if "maxshape" in declared:
            dataset[...] = 1
    with pytest.raises(LoadError, match="ND033"):
        hdf5.read(path)


def test_a_group_that_holds_itself_is_refused(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("group")
        group["again"] = group
    with pytest.raises(LoadError, match="ND033"):
        hdf5.read(path)


def test_nothing_outside_the_file_is_followed(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = 1.0
    (tmp_path / "raw").write_bytes(bytes(8))
    layout = h5py.VirtualLayout(shape=(1,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(1,))
    with h5py.File(path, "w") as file:
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (1,), "f8", external=[(str(tmp_path / "raw"), 0, 8)])
    assert all(isinstance(value, hdf5.Unread) for value in hdf5.read(path).values())


def test_a_reader_that_does_not_end_is_ended_and_the_next_file_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with hdf5.Reader() as reader:
        with monkeypatch.context() as patch:
            patch.setattr(hdf5, "TIMEOUT_S", -1e6)
            with pytest.raises(LoadError, match="did not end"):
                reader.read(path)
        assert list(reader.read(path)) == ["x"]


def test_files_that_are_no_hdf5_are_refused(path: Path) -> None:
    for content in (b"text", hdf5.SIGNATURE, b""):
        path.write_bytes(content)
        with pytest.raises(LoadError, match="ND030"):
            hdf5.read(path)
    with pytest.raises(LoadError, match="ND001"):
        hdf5.read(path.parent / "absent.h5")


def test_without_h5py_the_remedy_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "find_spec", lambda name: None)
    with pytest.raises(NeurodeployError, match="pip install h5py") as refusal:
        hdf5.read(path)
    assert refusal.value.exit_code == 6
