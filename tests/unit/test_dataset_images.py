"""Image datasets beside MNIST and digits, against published numbers; and the law that batches do not matter."""

from __future__ import annotations

import pickle
import pickletools
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding, mnist
from neurodeploy.errors import LoadError, UsageError
from tests.cases import data

CANONICAL_MEAN = (0.49139968, 0.48215841, 0.44653091)
CANONICAL_STD = (0.24703223, 0.24348513, 0.26158784)
"""Of CIFAR-10's 50,000 training images, red, green and blue."""


@pytest.fixture(scope="module")
def subset() -> Path:
    """The folder of the lossless subset of CIFAR-10."""
    pytest.importorskip("PIL")
    return data("cifar10", "labels.npz").parent


@pytest.fixture(scope="module")
def cifar10(subset: Path) -> dict[str, datasets.Dataset]:
    return {split: datasets.load("cifar10", split) for split in datasets.SPLITS}


def codes(caught: pytest.ExceptionInfo) -> list[str]:
    return [finding.code for finding in caught.value.findings]


def test_cifar10_has_the_canonical_colors_and_order(cifar10: dict[str, datasets.Dataset]) -> None:
    """Mean and deviation of each color are those of the whole within 1 %; labels begin as everyone's do."""
    images = cifar10["train"].images.reshape(-1, 3, 1024)
    assert images.mean((0, 2)) == pytest.approx(CANONICAL_MEAN, rel=0.01)
    assert images.std((0, 2)) == pytest.approx(CANONICAL_STD, rel=0.01)
    assert cifar10["train"].labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar10["test"].labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert [part.name for part in cifar10.values()] == ["CIFAR-10, 10,000 of 50,000", "CIFAR-10, 1,000 of 10,000"]


def test_each_picture_is_cut_from_its_sprite(subset: Path, cifar10: dict[str, datasets.Dataset]) -> None:
    """Picture k is the 32 x 32 square in row k // 50 and column k % 50, upright, and has label k."""
    from PIL import Image

    with np.load(subset / "labels.npz") as labels:
        assert labels["test"].tolist() == cifar10["test"].labels.tolist()
    sprite = Image.open(subset / "test_0.webp").convert("RGB")
    for k in (0, 49, 50, 777):
        left, top = 32 * (k % 50), 32 * (k // 50)
        expected = np.asarray(sprite.crop((left, top, left + 32, top + 32)))
        picture = cifar10["test"].images[k].reshape(cifar10["test"].image_shape)
        assert np.array_equal(expected.transpose(2, 0, 1), np.round(picture * 255))


def test_cifar10s_pixels_lie_where_they_belong(cifar10: dict[str, datasets.Dataset]) -> None:
    """Neighbors, along rows and columns and between colors, are alike in every picture; shuffled they are not."""
    pictures = cifar10["test"].images.reshape(-1, *cifar10["test"].image_shape)
    for left, right in (
        (pictures[..., 1:], pictures[..., :-1]),
        (pictures[..., 1:, :], pictures[..., :-1, :]),
        (pictures[:, 0], pictures[:, 1]),
    ):
        assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.9


def batch(images: np.ndarray, labels: list[int], key: bytes) -> bytes:
    """Return a batch as published: keys are bytes, the images a numpy array of 3,072 bytes each."""
    return pickle.dumps({b"batch_label": b"b", key: labels, b"data": images, b"filenames": [b"x.png"]}, protocol=3)


def python2(content: bytes) -> bytes:
    """Return a pickle as Python 2 wrote it: bytes and text are its one kind of string, and numpy's module is older."""
    older = bytearray(content)
    for opcode, _, position in pickletools.genops(content):
        older[position] = {"C": b"U", "B": b"T", "X": b"T"}.get(opcode.code, opcode.code.encode("latin-1"))[0]
    return bytes(older).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, the only place data are looked for."""
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "place", "files", "key"),
    [
        ("cifar10", "cifar-10-batches-py", [f"data_batch_{i}" for i in range(1, 6)], b"labels"),
        ("cifar100", "cifar-100-python", ["train"], b"fine_labels"),
    ],
)
def test_the_published_pickles_are_read(folder: Path, name: str, place: str, files: list[str], key: bytes) -> None:
    """All batches in their order, as red, green and blue planes."""
    draw = np.random.default_rng(0)
    parts = [draw.integers(0, 256, (2, 3072), dtype=np.uint8) for _ in files]
    (folder / place).mkdir()
    for i, (file, part) in enumerate(zip(files, parts, strict=True)):
        (folder / place / file).write_bytes(batch(part, [i, 9 - i], key))
    found = datasets.load(name, "train")
    assert np.array_equal(np.concatenate(parts), np.round(found.images * 255))
    assert found.labels.tolist() == [label for i in range(len(files)) for label in (i, 9 - i)]
    assert found.image_shape == (3, 32, 32)
    assert found.classes == {"cifar10": 10, "cifar100": 100}[name]


def test_python_2s_pickles_are_read(folder: Path) -> None:
    """The published files come from Python 2."""
    images = np.arange(3072, dtype=np.uint8).reshape(1, 3072)
    written = python2(batch(images, [7], b"labels"))
    assert b"_core" not in written
    (folder / "cifar-10-batches-py").mkdir()
    (folder / "cifar-10-batches-py/test_batch").write_bytes(written)
    found = datasets.load("cifar10")
    assert np.array_equal(images, np.round(found.images * 255))
    assert found.labels.tolist() == [7]


class Evil:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("touched"),)


class EvilNumpy:
    def __reduce__(self) -> tuple:
        return np.save, ("touched", np.arange(2))


class Object:
    def __reduce__(self) -> tuple:
        return np.ndarray, ((1 << 40,), "u1")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no pickle", id="text"),
        pytest.param(pickle.dumps({b"labels": Evil()}), id="code"),
        pytest.param(pickle.dumps({b"labels": EvilNumpy()}), id="numpy's code"),
        pytest.param(pickle.dumps({b"labels": Object()}), id="a terabyte"),
        pytest.param(pickle.dumps([1, 2]), id="a list"),
        pytest.param(batch(np.zeros((2, 3072), np.uint8), [1], b"labels"), id="count"),
        pytest.param(batch(np.zeros((1, 3072)), [1], b"labels"), id="floats"),
        pytest.param(batch(np.zeros((1, 3072), np.uint8), [10], b"labels"), id="label"),
        pytest.param(batch(np.zeros((1, 3072), np.uint8), [1], b"labels")[:-200], id="cut"),
    ],
)
def test_a_pickle_is_read_without_running_it(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Damaged batches are refused, and any name that arrays of numbers do not need; nothing it names is called."""
    monkeypatch.chdir(folder)
    (folder / "cifar-10-batches-py").mkdir()
    (folder / "cifar-10-batches-py/test_batch").write_bytes(content)
    with pytest.raises(LoadError) as caught:
        datasets.load("cifar10")
    assert codes(caught) == ["ND052"]
    assert not list(folder.glob("touched*"))


def test_a_damaged_subset_is_refused(subset: Path, folder: Path) -> None:
    """A picture cut short, a picture missing, labels of something else."""
    shutil.copytree(subset, folder / "cifar10")
    picture = folder / "cifar10/test_0.webp"
    content = picture.read_bytes()
    for spoil in (lambda: picture.write_bytes(content[:500]), picture.unlink, lambda: picture.write_bytes(b"")):
        spoil()
        with pytest.raises(LoadError) as caught:
            datasets.load("cifar10")
        assert codes(caught) == ["ND052"]
    picture.write_bytes(content)
    np.savez(folder / "cifar10/labels.npz", test=np.zeros(999, int))
    with pytest.raises(LoadError, match=r"1000 images and labels of shape \(999,\)"):
        datasets.load("cifar10")


def test_fashion_mnist_is_not_taken_for_mnist(folder: Path) -> None:
    """Both come in files of the same names: loose ones are MNIST, and only a folder of its own is Fashion-MNIST."""

    def write(place: Path, shade: int) -> None:
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full(784, shade, np.uint8).tobytes()
        (place / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 1, 28, 28) + pixels)
        (place / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">HBB1I", 0, 8, 1, 1) + b"\x03")

    write(folder, 51)
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        with pytest.raises(LoadError, match="FashionMNIST"):
            datasets.load("fashion-mnist")
    for place in ("FashionMNIST/raw", "fashion-mnist"):
        write(folder / place, 255)
        assert datasets.load("fashion-mnist").images.min() == 1
        assert datasets.load("mnist").images.max() == np.float32(0.2)
        shutil.rmtree(folder / place)


def test_fashion_mnist_is_the_published_one() -> None:
    """Where it is installed: 60,000 and 10,000 pictures, 6,000 and 1,000 of each class, ankle boots first."""
    try:
        mnist.find("t10k-images-idx3-ubyte", "fashion-mnist")
    except LoadError as error:
        pytest.skip(f"no Fashion-MNIST below NEURODEPLOY_DATA: {error.findings[0].what}")
    for split, each, first in (("train", 6000, [9, 0, 0, 3, 0]), ("test", 1000, [9, 2, 1, 1, 6])):
        found = datasets.load("fashion-mnist", split)
        assert np.bincount(found.labels).tolist() == [each] * 10
        assert found.labels[:5].tolist() == first


ENCODINGS = [
    Encoding("direct", 4),
    Encoding("rate", 4, seed=3),
    Encoding("latency", 4),
    Encoding("rows", 8),
    Encoding("delta", 8, threshold=0.2),
]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.kind)
def test_an_images_input_does_not_depend_on_the_batch(encoding: Encoding) -> None:
    """Any order, repetition, slice or mask gives each sample what it gets among all."""
    digits = datasets.load("digits")
    whole = digits.encode(encoding)
    assert digits.shape(encoding) == whole.shape[2:]
    assert np.array_equal(encoding.encode(digits.images), whole)
    order = np.random.default_rng(0).integers(0, len(digits), 30)
    assert np.array_equal(whole[:, order], digits.encode(encoding, order))
    assert np.array_equal(whole[:, 50:60], digits.encode(encoding, slice(50, 60)))
    assert np.array_equal(whole[:, digits.labels == 3], digits.encode(encoding, digits.labels == 3))


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [
        (Encoding("direct", 8), (3, 32, 32)),
        (Encoding("rate", 8), (3, 32, 32)),
        (Encoding("latency", 8), (3, 32, 32)),
        (Encoding("rows", 32), (96,)),
        (Encoding("delta", 32, threshold=0.1), (192,)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_colored_images_become_input(
    cifar10: dict[str, datasets.Dataset], encoding: Encoding, shape: tuple[int, ...]
) -> None:
    """Colors are channels; fed by rows, step t has row t of red, of green and of blue."""
    images = cifar10["test"]
    assert images.shape(encoding) == shape
    assert images.encode(encoding, np.array([4, 2])).shape == (encoding.steps, 2, *shape)
    pictures = images.images.reshape(-1, 3, 32, 32)
    if encoding.kind == "rows":
        assert np.array_equal(pictures[4, :, 9].ravel(), images.encode(encoding, np.array([4]))[9, 0])
    if encoding.kind == "direct":
        assert np.array_equal(pictures[4], images.encode(encoding, np.array([4]))[5, 0])


@pytest.mark.parametrize("steps", [4, 16, 64])
@pytest.mark.parametrize(("kind", "threshold"), [("rows", None), ("delta", 0.2)])
def test_a_step_is_a_whole_row(kind: str, threshold: float | None, steps: int) -> None:
    """Half a row, or several, is refused although the pixels divide; the remedy is the encoding that fits."""
    digits = datasets.load("digits")
    for use in (digits.shape, digits.encode):
        with pytest.raises(UsageError) as caught:
            use(Encoding(kind, steps, threshold=threshold))
        assert codes(caught) == ["ND050"]
        (finding,) = caught.value.findings
        fits = eval(finding.fix.partition(", on the")[0], {"Encoding": Encoding})
        assert fits == Encoding(kind, 8, threshold=threshold)
        digits.encode(fits, slice(2))


def test_a_step_of_a_colored_image_is_a_whole_row(cifar10: dict[str, datasets.Dataset]) -> None:
    """CIFAR-10 has 32 rows; its usual 8 steps would feed four at once."""
    with pytest.raises(UsageError, match="these images have 32"):
        cifar10["test"].shape(Encoding("rows", 8))


def test_frames_do_not_fit_images() -> None:
    """The refusal says which encodings do."""
    for use in (datasets.load("digits").shape, datasets.load("digits").encode):
        with pytest.raises(UsageError, match="direct, rate, latency, delta, rows") as caught:
            use(Encoding("frames", 5))
        assert codes(caught) == ["ND050"]
