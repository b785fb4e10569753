"""Datasets and encodings against facts from elsewhere: published checksums, scikit-learn, snnTorch, sums by hand."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding, digits, encodings, mnist
from neurodeploy.errors import LoadError, UsageError

PUBLISHED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def codes(caught) -> list[str]:
    return [finding.code for finding in caught.value.findings]


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, the only place data are looked for."""
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(params=["train", "test"])
def real_mnist(request):
    """The split's name, once its files are here."""
    try:
        for name in mnist.FILES[request.param]:
            mnist.find(name)
    except LoadError as error:
        pytest.skip(f"MNIST is not on this machine: {error.findings[0].why}")
    return request.param


def write_tiny_mnist(folder, pack=lambda content: content, suffix="", labels=(7, 2)):
    folder.mkdir(parents=True, exist_ok=True)
    images = np.zeros((2, 28, 28))
    images[1, 3, 5] = 255
    (folder / f"t10k-images-idx3-ubyte{suffix}").write_bytes(pack(idx(images)))
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(np.array(labels))))


def test_mnist_files_are_the_published_ones(real_mnist):
    """All four idx files, unpacked, have the MD5 sums published for them."""
    for name in mnist.FILES[real_mnist]:
        path = mnist.find(name)
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert PUBLISHED_MD5[name] == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_mnist_has_the_official_order_and_size(real_mnist):
    """60,000 / 10,000 images of 784 values in [0, 1]; the labels begin as everyone's MNIST does."""
    data = datasets.load("mnist", real_mnist)
    size, first = {"train": (60_000, [5, 0, 4, 1, 9]), "test": (10_000, [7, 2, 1, 0, 4])}[real_mnist]
    assert (size, 784) == data.images.shape
    assert np.float32 == data.images.dtype
    assert (data.images.min(), data.images.max()) == (0.0, 1.0)
    assert first == data.labels[:5].tolist()
    assert data.image_shape == (28, 28)


@pytest.mark.parametrize("place", [".", "mnist", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_is_found_in_each_layout(folder, place, suffix):
    """Plain or gzipped, loose, in a folder of its own or as torchvision lays it out."""
    write_tiny_mnist(folder / place, gzip.compress if suffix else bytes, suffix)
    data = datasets.load("mnist", "test")
    assert data.labels.tolist() == [7, 2]
    assert data.images[1, 3 * 28 + 5] == 1.0
    assert data.images.sum() == 1.0


def test_mnist_is_found_beside_the_current_folder(tmp_path, monkeypatch):
    """Without NEURODEPLOY_DATA, ../shared/data is searched."""
    monkeypatch.delenv("NEURODEPLOY_DATA", raising=False)
    write_tiny_mnist(tmp_path / "shared" / "data")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(datasets.load("mnist").labels) == 2


def test_missing_mnist_says_where_it_was_looked_for_and_how_to_get_it(folder):
    """The refusal names the file, every folder searched, and the remedy."""
    with pytest.raises(LoadError) as caught:
        datasets.load("mnist")
    (finding,) = caught.value.findings
    assert finding.code == "ND051"
    assert "t10k-images-idx3-ubyte" in finding.what
    assert all(str(folder / place) in finding.why for place in ("", "mnist", "MNIST/raw"))
    assert "NEURODEPLOY_DATA" in finding.fix


def damaged_files():
    good = idx(np.zeros((2, 28, 28)))
    yield "empty", "", b""
    yield "header cut", "", good[:9]
    yield "truncated", "", good[:-1]
    yield "too long", "", good + b"\0"
    yield "int32 elements", "", b"\0\0\x0c" + good[3:]
    yield "a picture", "", b"\x89PNG\r\n\x1a\n"
    yield "not gzip", ".gz", good
    yield "gzip cut", ".gz", gzip.compress(good)[:-9]
    yield "gzip damaged", ".gz", gzip.compress(good)[:12] + b"\xff\xff" + gzip.compress(good)[14:]
    yield "other pixels", "", idx(np.zeros((2, 32, 32)))
    yield "other count", "", idx(np.zeros((3, 28, 28)))


@pytest.mark.parametrize(("suffix", "content"), [pytest.param(*rest, id=name) for name, *rest in damaged_files()])
def test_a_damaged_idx_file_is_refused(folder, suffix, content):
    """Truncated, lengthened, mislabeled or mismatched files give a LoadError, never an array."""
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([7, 2])))
    (folder / f"t10k-images-idx3-ubyte{suffix}").write_bytes(content)
    with pytest.raises(LoadError) as caught:
        datasets.load("mnist")
    assert codes(caught) == ["ND052"]


def test_a_label_beyond_nine_is_refused(folder):
    """MNIST has ten classes."""
    write_tiny_mnist(folder, labels=(7, 10))
    with pytest.raises(LoadError, match="label 10"):
        datasets.load("mnist")


def test_digits_are_scikit_learns_own():
    """Both splits together hold each of scikit-learn's 1,797 images once, with its label, as sixteenths."""
    from sklearn.datasets import load_digits

    source = load_digits()
    parts = [datasets.load("digits", split) for split in datasets.SPLITS]
    assert [len(part.labels) for part in parts] == [1437, 360]
    expected = sorted((*map(int, image), int(label)) for image, label in zip(source.data, source.target, strict=True))
    actual = sorted(
        (*map(int, image * 16), int(label)) for p in parts for image, label in zip(p.images, p.labels, strict=True)
    )
    assert expected == actual


def test_the_digits_split_is_stratified_and_repeats():
    """Each class gives a fifth of its images, within one, to the test split; a second call gives the same arrays."""
    (_, train), (images, test) = digits.load("train"), digits.load("test")
    total = np.bincount(np.concatenate([train, test]))
    assert (np.abs(np.bincount(test) - total / 5) <= 1).all()
    assert np.array_equal(images, digits.load("test")[0])


def test_limit_takes_the_first_samples():
    """`limit` n is the first n of the whole."""
    whole, some = datasets.load("digits"), datasets.load("digits", limit=7)
    assert np.array_equal(whole.images[:7], some.images)
    assert np.array_equal(whole.labels[:7], some.labels)


@pytest.mark.parametrize("wrong", [{"name": "svhn"}, {"split": "validation"}, {"limit": 0}, {"limit": 1.5}])
def test_a_dataset_that_does_not_exist_is_a_usage_error(wrong):
    """Unknown names, splits and sample counts below one are refused."""
    with pytest.raises(UsageError) as caught:
        datasets.load(**{"name": "digits", **wrong})
    assert codes(caught) == ["ND050"]


def test_direct_repeats_the_image():
    """Every step carries the image itself, as float32."""
    images = np.array([[0.0, 0.5, 1.0]])
    encoded = encodings.direct(images, 4)
    assert np.float32 == encoded.dtype
    assert encoded.tolist() == [[[0.0, 0.5, 1.0]]] * 4


def test_rate_is_a_coin_of_the_pixels_brightness():
    """0 never spikes, 1 always does, and 0.3 does in 30 % of steps within five standard deviations."""
    images = np.broadcast_to(np.array([0.0, 1.0, 0.3]), (40, 3))
    spikes = encodings.rate(images, 1000, seed=3)
    assert np.uint8 == spikes.dtype
    assert spikes.shape == (1000, 40, 3)
    assert spikes[..., 0].sum() == 0
    assert spikes[..., 1].sum() == 40_000
    assert abs(spikes[..., 2].mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 40_000)


def test_rate_samples_do_not_depend_on_their_company():
    """Sample i has the same spikes alone, among others, or in a later piece; another seed or sample has others."""
    images = np.full((6, 50), 0.5)
    whole = encodings.rate(images, 20, seed=1)
    assert np.array_equal(whole[:, :2], encodings.rate(images[:2], 20, seed=1))
    assert np.array_equal(whole[:, 4:], encodings.rate(images[4:], 20, seed=1, first=4))
    assert not np.array_equal(whole[:, 0], whole[:, 1])
    assert not np.array_equal(whole, encodings.rate(images, 20, seed=2))


def test_rate_draws_what_numpy_documents():
    """The spikes are those of numpy's default generator seeded with (seed, sample), step by step."""
    images = np.array([[0.2, 0.7], [0.4, 0.9]], dtype=np.float32)
    draws = np.random.default_rng([11, 1]).random((5, 2), dtype=np.float32)
    assert np.array_equal(draws < images[1], encodings.rate(images, 5, seed=11)[:, 1])


def test_latency_by_hand():
    """With 5 steps, 1 fires at 0, 0.8 at floor(0.8 + .5) = 1, 0.5 at 2, 0.01 at floor(3.96 + .5) = 4, and 0 never."""
    spikes = encodings.latency(np.array([[1.0, 0.8, 0.5, 0.01, 0.0]]), 5)
    assert np.uint8 == spikes.dtype
    assert spikes.sum(0)[0].tolist() == [1, 1, 1, 1, 0]
    assert spikes[:, 0, :4].argmax(0).tolist() == [0, 1, 2, 4]


def test_delta_by_hand():
    """Rises spike in the first half of the neurons, falls in the second, and nothing has changed at step 0."""
    signal = np.array([0.5, 0.5, 1.0, 0.75, 0.25]).reshape(5, 1, 1)
    spikes = encodings.delta(signal, 0.5)
    assert spikes[:, 0, 0].tolist() == [0, 0, 1, 0, 0]
    assert spikes[:, 0, 1].tolist() == [0, 0, 0, 0, 1]


def test_rising_delta_is_snntorchs():
    """After step 0, which snnTorch compares with 0, the rising channel equals snntorch.spikegen.delta."""
    spikegen = pytest.importorskip("snntorch.spikegen")
    torch = pytest.importorskip("torch")
    signal = np.random.default_rng(0).random((30, 4, 6), dtype=np.float32)
    expected = spikegen.delta(torch.from_numpy(signal), threshold=0.25).numpy()
    assert np.array_equal(expected[1:], encodings.delta(signal, 0.25)[1:, :, :6])


def test_rows_feed_the_top_row_first():
    """Step t carries row t of every image, whether images come flat or in two dimensions."""
    images = np.arange(2 * 28 * 28).reshape(2, 28, 28)
    encoded = encodings.rows(images)
    assert np.float32 == encoded.dtype
    assert encoded.shape == (28, 2, 28)
    assert images[1, 9].tolist() == encoded[9, 1].tolist()
    assert np.array_equal(encoded, encodings.rows(images.reshape(2, 784)))


@pytest.mark.parametrize(
    ("encoding", "shape"),
    [
        (Encoding("direct", 6), (6, 3, 64)),
        (Encoding("rate", 6, seed=9), (6, 3, 64)),
        (Encoding("latency", 6), (6, 3, 64)),
        (Encoding("rows", 8), (8, 3, 8)),
        (Encoding("delta", 8, threshold=0.25), (8, 3, 16)),
    ],
)
def test_an_encoding_is_its_function_and_survives_storage(encoding, shape):
    """Every kind encodes to (step, sample, neuron), and comes back from its plain form equal."""
    images = datasets.load("digits", limit=3).images
    assert shape == encoding.encode(images).shape
    assert encoding == Encoding.from_plain(encoding.to_plain())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "phase", "steps": 5},
        {"kind": "rate", "steps": 0},
        {"kind": "rate", "steps": 5.0},
        {"kind": "rate", "steps": 5, "seed": -1},
        {"kind": "rate", "steps": 5, "threshold": 0.1},
        {"kind": "delta", "steps": 5},
        {"kind": "delta", "steps": 5, "threshold": float("nan")},
    ],
)
def test_an_encoding_out_of_range_is_refused(wrong):
    """A wrong field is a usage error in code and a load error in a stored model."""
    with pytest.raises(UsageError) as caught:
        Encoding(**wrong)
    assert codes(caught) == ["ND050"]
    with pytest.raises(LoadError) as caught:
        Encoding.from_plain(wrong)
    assert codes(caught) == ["ND055"]


@pytest.mark.parametrize("plain", [{}, {"kind": "rate"}, {"kind": "rate", "steps": 5, "dt": 1e-3}])
def test_a_stored_encoding_has_exactly_its_fields(plain):
    """Fields that are absent or unknown are refused."""
    with pytest.raises(LoadError) as caught:
        Encoding.from_plain(plain)
    assert codes(caught) == ["ND055"]


@pytest.mark.parametrize("images", [[[0.5, 1.5]], [[-0.1, 0.5]], [[float("nan"), 0.5]]])
def test_intensities_outside_zero_to_one_are_refused(images):
    """A probability or a latency has no meaning outside [0, 1]."""
    with pytest.raises(UsageError, match="intensities"):
        Encoding("rate", 4).encode(np.array(images))


def test_images_without_that_many_rows_are_refused():
    """64 pixels do not make 28 rows."""
    with pytest.raises(UsageError, match="28 rows"):
        Encoding("rows", 28).encode(np.zeros((2, 64)))


def test_a_recording_is_returned_as_stored(tmp_path):
    """Spikes keep their type, labels become int64, and the name is the file's."""
    spikes = np.random.default_rng(0).integers(0, 2, (5, 3, 2, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "gestures.npz", inputs=spikes, labels=np.array([1, 0, 2], dtype=np.int16))
    recording = datasets.load_npz(tmp_path / "gestures.npz")
    assert recording.name == "gestures"
    assert np.uint8 == recording.inputs.dtype
    assert np.array_equal(spikes, recording.inputs)
    assert recording.labels.tolist() == [1, 0, 2]
    assert np.int64 == recording.labels.dtype


def test_a_recording_may_lack_labels_and_its_floats_become_float32(tmp_path):
    """No labels is None, not zeros."""
    np.savez(tmp_path / "x.npz", inputs=np.full((2, 3, 4), 0.25))
    recording = datasets.load_npz(tmp_path / "x.npz")
    assert recording.labels is None
    assert np.float32 == recording.inputs.dtype


GOOD = np.zeros((5, 3, 4), dtype=np.float32)
NAN = GOOD.copy()
NAN[4, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        pytest.param({"x": GOOD}, "`inputs` is missing", id="no inputs"),
        pytest.param({"inputs": GOOD[0]}, "shape", id="two axes"),
        pytest.param({"inputs": GOOD[:0]}, "shape", id="no steps"),
        pytest.param({"inputs": NAN}, r"at \(4, 2, 1\)", id="NaN"),
        pytest.param({"inputs": GOOD.astype(float) + 1e300}, r"1e\+300", id="beyond float32"),
        pytest.param({"inputs": GOOD.astype("U1")}, "holds <U1", id="text"),
        pytest.param({"inputs": GOOD.astype(complex)}, "holds complex", id="complex"),
        pytest.param({"inputs": GOOD, "labels": np.zeros(5, int)}, "`labels` has shape", id="one label per step"),
        pytest.param({"inputs": GOOD, "labels": np.zeros((3, 1), int)}, "`labels` has shape", id="label axes"),
        pytest.param({"inputs": GOOD, "labels": np.zeros(3)}, "`labels` holds float64", id="float labels"),
        pytest.param({"inputs": GOOD, "labels": np.array([0, -1, 2])}, "`labels` holds -1", id="negative label"),
    ],
)
def test_arrays_that_are_no_input_are_refused(tmp_path, arrays, words):
    """The finding says what is wrong with which array."""
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(LoadError, match=words) as caught:
        datasets.load_npz(tmp_path / "x.npz")
    assert codes(caught) == ["ND054"]


def test_every_fault_of_a_recording_is_told_at_once(tmp_path):
    """Two wrong arrays give two findings."""
    np.savez(tmp_path / "x.npz", inputs=NAN, labels=np.zeros(7, int))
    with pytest.raises(LoadError) as caught:
        datasets.load_npz(tmp_path / "x.npz")
    assert codes(caught) == ["ND054", "ND054"]


def test_files_that_are_no_archive_are_refused(tmp_path):
    """Absent, a folder, text, empty, cut short, a lone array, an array of objects: each a LoadError, none unpickled."""
    paths = {name: tmp_path / f"{name}.npz" for name in ("absent", "folder", "text", "empty", "cut", "lone", "objects")}
    paths["folder"].mkdir()
    paths["text"].write_text("inputs,labels\n")
    paths["empty"].write_bytes(b"")
    np.savez(paths["cut"], inputs=GOOD)
    paths["cut"].write_bytes(paths["cut"].read_bytes()[:-30])
    with paths["lone"].open("wb") as file:
        np.save(file, GOOD)
    np.savez(paths["objects"], inputs=np.array([{}, None], dtype=object))
    for path in paths.values():
        with pytest.raises(LoadError) as caught:
            datasets.load_npz(path)
        assert codes(caught) == ["ND053"]
