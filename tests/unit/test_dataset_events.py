"""Event streams against facts from elsewhere: MNIST, tonic, the data folder's README and its own simulator."""

from __future__ import annotations

import importlib.util
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from neurodeploy import datasets, pipeline
from neurodeploy.datasets import Encoding, event_cameras, mnist, nmnist, qtdb, simulated_nmnist
from neurodeploy.datasets.events import STREAM, Events, flat
from neurodeploy.errors import LoadError, UsageError
from tests.cases import data

PIXELS = 34 * 34
ARCHIVE = ("nmnist_real", "nmnist_real_1000_100.tar.xz")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURODEPLOY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def real() -> datasets.Recordings:
    data(*ARCHIVE)
    data("mnist")
    return datasets.load("nmnist", "test")


@pytest.fixture(scope="module")
def simulated() -> datasets.Recordings:
    data("mnist")
    return datasets.load("nmnist-simulated", "test", 100)


def codes(caught: pytest.ExceptionInfo) -> list[str]:
    return [finding.code for finding in caught.value.findings]


def encoded(events: np.ndarray) -> bytes:
    """Return events (x, y, polarity, t) in N-MNIST's coding, written from its description bit by bit."""
    words = [int(x) << 32 | int(y) << 24 | int(p) << 23 | int(t) for x, y, p, t in events]
    return b"".join(word.to_bytes(5, "big") for word in words)


def some_events(seed: int, n: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    columns = [draw.integers(0, top, n) for top in (34, 34, 2)] + [np.sort(draw.integers(0, 315_000, n))]
    return np.stack(columns, axis=1)


def pixel_counts(recordings: datasets.Recordings) -> np.ndarray:
    """Return the events of each pixel, both polarities together, (sample, 1156)."""
    streams = recordings.streams
    spans = zip(streams.starts[:-1], streams.starts[1:], strict=True)
    return np.stack([np.bincount(streams.addresses[a:b] % PIXELS, minlength=PIXELS) for a, b in spans])


def own_and_others(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of every row with its own counterpart, and its mean with the others."""
    n = len(left)
    table = np.corrcoef(left, right)[:n, n:]
    own = np.diag(table)
    return own, (table.sum(1) - own) / (n - 1)


# the law of frames


def test_frames_are_the_definition() -> None:
    """A spike is exactly where an event of that recording and channel falls into that bin; the last has no end."""
    draw = np.random.default_rng(0)
    streams, durations = [], np.array([100, 7, 1000])
    for n, duration in zip((50, 0, 300), durations, strict=True):
        stream = np.zeros(n, STREAM)
        stream["t"], stream["address"] = draw.integers(0, 1.2 * duration, n), draw.integers(0, 6, n)
        streams.append(stream)
    events = Events(**flat(streams), durations=durations, shape=(2, 3))
    expected = np.zeros((9, 3, 6), np.uint8)
    for sample, (stream, duration) in enumerate(zip(streams, durations, strict=True)):
        for t, address in stream.tolist():
            expected[min(int(t * 9 / duration), 8), sample, address] += 1
    assert expected.max() > 3
    assert np.array_equal(events.counts(9, np.arange(3)).reshape(9, 3, 6), expected)
    expected = np.minimum(expected, 1)
    actual = events.frames(9, np.arange(3))
    assert np.uint8 == actual.dtype
    assert np.array_equal(expected.reshape(9, 3, 2, 3), actual)


def test_a_recordings_frames_do_not_depend_on_the_batch(simulated: datasets.Recordings) -> None:
    """Any order, repetition, slice or mask gives each sample what it gets alone."""
    encoding = Encoding("frames", 12)
    whole = simulated.encode(encoding)
    order = np.random.default_rng(0).integers(0, 100, 20)
    assert whole.shape == (12, 100, 2, 34, 34)
    assert simulated.shape(encoding) == (2, 34, 34)
    assert np.array_equal(whole[:, order], simulated.encode(encoding, order))
    assert np.array_equal(whole[:, 90:], simulated.encode(encoding, slice(-10, None)))
    assert np.array_equal(whole[:, simulated.labels == 7], simulated.encode(encoding, simulated.labels == 7))
    assert simulated.encode(encoding, np.array([], int)).shape == (12, 0, 2, 34, 34)


def test_images_encodings_do_not_fit_recordings(simulated: datasets.Recordings) -> None:
    """The refusal says which encoding does."""
    for use in (simulated.shape, simulated.encode):
        with pytest.raises(UsageError, match=r'Encoding\("frames", 5\)') as caught:
            use(Encoding("rate", 5))
        assert codes(caught) == ["ND050"]
    with pytest.raises(UsageError, match="there are direct, rate, latency, delta, rows"):
        Encoding("counts", 5).encode(np.zeros((2, 4)))
    with pytest.raises(UsageError, match="100 samples"):
        simulated.encode(Encoding("frames", 5), np.array([100]))


def test_ten_thousand_recordings_take_a_quarter_gigabyte(simulated: datasets.Recordings) -> None:
    """Six bytes per event: 2.4 MB for 100 recordings, 240 MB for 10,000."""
    streams = simulated.streams
    size = streams.times.nbytes + streams.addresses.nbytes
    assert 6 * streams.starts[-1] == size
    assert size < 3e6


# N-MNIST


@pytest.mark.parametrize(("split", "n"), [("train", 1000), ("test", 100)])
def test_nmnist_labels_are_mnists(split: str, n: int) -> None:
    """The data folder has the first recordings of MNIST, with its labels, and the name says how many there are."""
    data(*ARCHIVE)
    data("mnist")
    recordings = datasets.load("nmnist", split)
    assert n == len(recordings)
    assert np.array_equal(mnist.load(split)[1][:n], recordings.labels)
    assert f"{n:,} of " in recordings.name
    assert recordings.classes == 10


def test_each_recording_shows_its_own_digit(real: datasets.Recordings) -> None:
    """A recording has events where its own MNIST image, moved along the triangle, has ink: r is .89, .63 for others."""
    images = mnist.load_bytes("test")[0][:100].astype(float)
    seen = np.zeros((100, 34, 34))
    for x, y in ((0, 1), (1, 4), (2, 7), (4, 4), (6, 1), (3, 1)):
        height = min(34 - y, 28)
        seen[:, y : y + height, x : x + 28] += images[:, :height]
    own, others = own_and_others(pixel_counts(real), seen.reshape(100, -1))
    assert (own > others).all()
    assert own.mean() > 0.85
    assert others.mean() < 0.70


def test_recordings_have_the_readmes_statistics(real: datasets.Recordings, simulated: datasets.Recordings) -> None:
    """3,856 events per recording, 3,952 simulated; half of them ON; pixel counts .94 and totals .97 correlated."""
    counts, copies = pixel_counts(real), pixel_counts(simulated)
    assert counts.sum(1).mean() == pytest.approx(3856, abs=1)
    assert copies.sum(1).mean() == pytest.approx(3952, abs=1)
    assert np.mean(real.streams.addresses >= PIXELS) == pytest.approx(0.495, abs=0.005)
    assert np.mean(simulated.streams.addresses >= PIXELS) == pytest.approx(0.490, abs=0.005)
    own, others = own_and_others(counts, copies)
    assert own.mean() == pytest.approx(0.940, abs=0.005)
    assert others.mean() == pytest.approx(0.636, abs=0.01)
    assert np.corrcoef(counts.sum(1), copies.sum(1))[0, 1] == pytest.approx(0.972, abs=0.005)


def test_events_are_decoded_as_tonic_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real recordings, unpacked as tonic lays them out, give the events of tonic.datasets.NMNIST, one by one."""
    pytest.importorskip("tonic")
    with tarfile.open(data(*ARCHIVE)) as archive:
        names = [name for name in archive.getnames() if name.startswith("NMNIST/Test/") and name.endswith(".bin")][::9]
        archive.extractall(tmp_path, [archive.getmember(name) for name in names], filter="data")
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    ours = datasets.load("nmnist", "test")
    theirs = event_cameras.subset("NMNIST", ".bin")(str(tmp_path), train=False)
    assert len(names) == len(ours) == len(theirs)
    for i, j in enumerate(sorted(range(len(theirs)), key=lambda j: Path(theirs.data[j]).name)):
        expected, label = theirs[j]
        part = slice(ours.streams.starts[i], ours.streams.starts[i + 1])
        assert label == ours.labels[i]
        assert np.array_equal(expected["t"], ours.streams.times[part])
        addresses = (expected["p"] * 34 + expected["y"]) * 34 + expected["x"]
        assert np.array_equal(addresses, ours.streams.addresses[part])


def test_tonics_clock_overflow_is_read(tmp_path: Path) -> None:
    """An event at y = 240 is none; every later one is 2^13 us later, as in tonic."""
    content = encoded(np.array([[1, 2, 1, 70], [0, 240, 0, 0], [33, 33, 0, 5]]))
    events = nmnist.decode(tmp_path, "x.bin", content)
    assert events["t"].tolist() == [70, 8192 + 5]
    assert events["address"].tolist() == [(34 + 2) * 34 + 1, 33 * 34 + 33]


def write_nmnist(folder: Path, pack: bool) -> None:
    """Write three test recordings, numbers 2, 10 and 7, of digits 1, 0 and 9."""
    files = {f"Test/{digit}/{n:05d}.bin": encoded(some_events(n, 40)) for digit, n in ((1, 2), (0, 10), (9, 7))}
    folder.mkdir(parents=True)
    if pack:
        with zipfile.ZipFile(folder / "test.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("pack", [False, True], ids=["folder", "zip"])
def test_nmnist_is_read_in_tonics_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: bool) -> None:
    """The published test.zip and what it unpacks to, three recordings or 10,000: in the order of their numbers."""
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    write_nmnist(tmp_path / "NMNIST", pack)
    recordings = datasets.load("nmnist", "test")
    assert recordings.labels.tolist() == [1, 9, 0]
    assert recordings.streams.starts.tolist() == [0, 40, 80, 120]
    assert some_events(7, 40)[:, 3].tolist() == recordings.streams.times[40:80].tolist()
    assert len(datasets.load("nmnist", "test", 2)) == 2
    with pytest.raises(LoadError) as caught:
        datasets.load("nmnist", "train")
    assert codes(caught) == ["ND051"]


@pytest.mark.parametrize(
    "content", [b"1234", encoded(np.array([[34, 0, 0, 0]])), encoded(np.array([[0, 40, 1, 0]]))], ids=["cut", "x", "y"]
)
def test_damaged_recordings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    write_nmnist(tmp_path / "NMNIST", pack=False)
    (tmp_path / "NMNIST/Test/0/00010.bin").write_bytes(content)
    with pytest.raises(LoadError, match=r"0/00010\.bin") as caught:
        datasets.load("nmnist", "test")
    assert codes(caught) == ["ND052"]


def test_simulated_recordings_are_not_taken_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that the data folder's simulator wrote says so, and is refused as N-MNIST."""
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    write_nmnist(tmp_path / "NMNIST", pack=False)
    (tmp_path / "NMNIST/SIMULATED.txt").write_text("simulated from MNIST; not the real N-MNIST\n")
    with pytest.raises(LoadError, match="simulated") as caught:
        datasets.load("nmnist", "test")
    assert codes(caught) == ["ND052"]


# simulated N-MNIST


def original() -> ModuleType:
    """Return the data folder's own simulator."""
    spec = importlib.util.spec_from_file_location("simulate_nmnist", data("tools", "simulate_nmnist.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_simulator_is_the_calibrated_one(split: str) -> None:
    """Event for event what the data folder's simulator gives, whose statistics its README reports."""
    simulate = original().simulate
    data("mnist")
    images = mnist.load_bytes(split)[0][40:45]
    theirs = simulate(images, 0, 40, simulated_nmnist.SPLIT_NUMBER[split])
    ours = simulated_nmnist.simulate(images, split, 40)
    for expected, actual in zip(theirs, ours, strict=True):
        assert np.array_equal(expected["t"], actual["t"])
        addresses = (expected["p"].astype(int) * 34 + expected["y"]) * 34 + expected["x"]
        assert np.array_equal(addresses, actual["address"])


def test_a_simulated_recording_depends_on_its_number_only(
    simulated: datasets.Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated in two goes, or a hundred at once: the same events; what is in the cache is not simulated again."""
    monkeypatch.setenv("NEURODEPLOY_CACHE", str(tmp_path))
    datasets.load("nmnist-simulated", "test", 3)
    calls: list[tuple[int, int]] = []
    some = datasets.load("nmnist-simulated", "test", 5, progress=lambda *call: calls.append(call))
    assert some.name == "simulated N-MNIST"
    assert calls == [(3, 5), (5, 5)]
    assert sorted(path.name for path in tmp_path.glob("*/*/*")) == ["test-00000-00003", "test-00003-00005"]
    assert np.array_equal(simulated.streams.times[: some.streams.starts[-1]], some.streams.times)
    assert np.array_equal(simulated.streams.addresses[: some.streams.starts[-1]], some.streams.addresses)
    assert simulated.labels[:5].tolist() == some.labels.tolist()
    monkeypatch.setattr(simulated_nmnist, "simulate", None)
    assert len(datasets.load("nmnist-simulated", "test", 4)) == 4


def test_an_interrupted_simulation_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is stopped while computing or while writing, the cache holds whole pieces only."""
    data("mnist")
    monkeypatch.setenv("NEURODEPLOY_CACHE", str(tmp_path))

    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    for owner, name in ((simulated_nmnist, "simulate"), (np, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                datasets.load("nmnist-simulated", "test", 2)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(datasets.load("nmnist-simulated", "test", 2)) == 2


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data("mnist")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NEURODEPLOY_CACHE", str(tmp_path / "file"))
    with pytest.raises(LoadError, match="NEURODEPLOY_CACHE") as caught:
        datasets.load("nmnist-simulated", "test", 1)
    assert codes(caught) == ["ND057"]


def test_a_damaged_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data("mnist")
    monkeypatch.setenv("NEURODEPLOY_CACHE", str(tmp_path))
    datasets.load("nmnist-simulated", "test", 1)
    file = next(tmp_path.rglob("times.npy"))
    for spoil in (lambda: file.write_bytes(b"\x93NUMPY"), file.unlink):
        spoil()
        with pytest.raises(LoadError, match="delete") as caught:
            datasets.load("nmnist-simulated", "test", 1)
        assert codes(caught) == ["ND052"]


def test_recordings_reach_a_model_through_read_data(simulated: datasets.Recordings) -> None:
    """`pipeline.read_data` gives a model's frames of a dataset named on the command line."""
    plain = Encoding("frames", 6).to_plain()
    samples = pipeline.read_data("nmnist-simulated", plain, (2, 34, 34), 3)
    assert np.array_equal(simulated.encode(Encoding("frames", 6), slice(3)), samples.inputs)
    assert simulated.labels[:3].tolist() == samples.labels.tolist()
    assert samples.name == "simulated N-MNIST"


# event cameras and SHD, in tonic's layouts


def test_gestures_are_read_as_tonic_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten real clips laid out as tonic does: every event of theirs, labels by file name, ten instead of 1,077."""
    pytest.importorskip("tonic")
    folder = tmp_path / "DVSGesture/ibmGestureTrain/user00_unknown"
    folder.mkdir(parents=True)
    clips = []
    with tarfile.open(data("event_samples", "event_samples.tar.xz")) as archive:
        for k in range(10):
            content = archive.extractfile(f"dvs_gesture_clips/{k + 1:02d}.bin").read()
            x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64).T
            t = (high & 127) << 16 | middle << 8 | low
            clips.append(np.stack([x, y, high >> 7, t // 1000], axis=1))
            np.save(folder / f"{k}.npy", clips[-1])
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    recordings = datasets.load("dvs-gesture", "train")
    assert recordings.name == "DVS128 Gesture, 10 of 1,077"
    assert list(range(10)) == recordings.labels.tolist()
    frames = recordings.encode(Encoding("frames", 4), np.array([6, 2]))
    assert frames.shape == (4, 2, 2, 128, 128)
    for place, k in enumerate((6, 2)):
        x, y, p, t_ms = clips[k].T
        t = (t_ms - t_ms.min()) * 1000
        expected = np.zeros((4, 2, 128, 128), np.uint8)
        expected[np.minimum(t * 4 // (t.max() + 1), 3), p, y, x] = 1
        assert np.array_equal(expected, frames[:, place])


def test_a_damaged_gesture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the sensor, empty or cut short: a LoadError whatever tonic raises."""
    pytest.importorskip("tonic")
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    file = tmp_path / "DVSGesture/ibmGestureTest/user24_led/3.npy"
    file.parent.mkdir(parents=True)
    for content in (np.array([[128, 0, 1, 5]]), np.empty((0, 4), np.int64), None):
        file.write_bytes(b"\x93NUMPY\x01")
        if content is not None:
            np.save(file, content)
        with pytest.raises(LoadError) as caught:
            datasets.load("dvs-gesture", "test")
        assert codes(caught) == ["ND052"]
    file.unlink()
    with pytest.raises(LoadError) as caught:
        datasets.load("dvs-gesture", "test")
    assert codes(caught) == ["ND052"]


def test_shd_is_read_as_tonic_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the published structure, times in half precision, gives the events of tonic.datasets.SHD."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("tonic")
    draw = np.random.default_rng(0)
    (tmp_path / "SHD").mkdir()
    sizes, labels = (30, 1, 200), np.array([19, 0, 4])
    with h5py.File(tmp_path / "SHD/shd_train.h5", "w") as file:
        file["labels"] = labels.astype(np.uint16)
        times = file.create_dataset("spikes/times", (3,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (3,), h5py.vlen_dtype(np.uint16))
        for i, n in enumerate(sizes):
            times[i], units[i] = np.sort(draw.random(n)).astype(np.float16), draw.integers(0, 700, n)
        file["extra/keys"], file["extra/speaker"] = np.array([b"zero"]), np.zeros(3, int)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    ours, theirs = datasets.load("shd", "train"), event_cameras.subset("SHD", ".h5")(str(tmp_path), train=True)
    assert (len(ours), ours.classes, ours.shape(Encoding("frames", 5))) == (3, 20, (700,))
    assert labels.tolist() == ours.labels.tolist()
    for i in range(3):
        expected, label = theirs[i]
        part = slice(ours.streams.starts[i], ours.streams.starts[i + 1])
        assert label == ours.labels[i]
        assert np.array_equal(expected["t"], ours.streams.times[part])
        assert np.array_equal(expected["x"], ours.streams.addresses[part])


def test_a_damaged_shd_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py")
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    (tmp_path / "shd_test.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    with pytest.raises(LoadError) as caught:
        datasets.load("shd")
    assert codes(caught) == ["ND052"]


class Decoder:
    """Stands for aedat's, which nothing here can write files for: two events, the second 9 ms after the first."""

    def __init__(self, path: str) -> None:
        self.number = int(Path(path).stem.rpartition("_")[2])

    def id_to_stream(self) -> dict[int, dict[str, str]]:
        return {0: {"type": "events"}}

    def __iter__(self) -> Iterator[dict]:
        kind = [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")]
        yield {"stream_id": 0, "events": np.array([(10**15, 5, 6, 0), (10**15 + 9000, 127, self.number, 1)], kind)}


def test_cifar10dvs_is_split_by_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers ending with 9 are the test; labels are tonic's; ordered by number; times count from the first event."""
    pytest.importorskip("tonic")
    fake = ModuleType("aedat")
    fake.Decoder = Decoder
    monkeypatch.setitem(sys.modules, "aedat", fake)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    for kind, number in (("truck", 0), ("airplane", 9), ("cat", 19), ("cat", 20)):
        file = tmp_path / f"CIFAR10DVS/{kind}/cifar10_{kind}_{number}.aedat4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    train, test = datasets.load("cifar10-dvs", "train"), datasets.load("cifar10-dvs", "test")
    assert train.labels.tolist() == [9, 3]
    assert test.labels.tolist() == [0, 3]
    frames = test.encode(Encoding("frames", 2), np.array([1]))
    assert np.argwhere(frames).tolist() == [[0, 0, 0, 6, 5], [1, 0, 1, 19, 127]]


def test_any_first_recordings_of_cifar10dvs_are_balanced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit takes as many of each class, give or take one; numbers count, not the digits they are written in."""
    pytest.importorskip("tonic")
    fake = ModuleType("aedat")
    fake.Decoder = Decoder
    monkeypatch.setitem(sys.modules, "aedat", fake)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    for kind in ("airplane", "cat", "truck"):
        for number in (0, 2, 10, 100):
            file = tmp_path / f"CIFAR10DVS/{kind}/cifar10_{kind}_{number}.aedat4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    for limit in range(1, 13):
        found = datasets.load("cifar10-dvs", "train", limit)
        assert found.labels.tolist() == ([0, 3, 9] * 4)[:limit]
    last = found.encode(Encoding("frames", 2), slice(None))[1, :, 1].argmax(1).max(1)
    assert last.tolist() == sorted([0, 2, 10, 100] * 3)


@pytest.mark.parametrize(("name", "package"), [("cifar10-dvs", "aedat"), ("dvs-gesture", "tonic"), ("shd", "h5py")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    """What reads one dataset only is asked for by pip's name when it is needed."""
    if package == "aedat":
        pytest.importorskip("tonic")
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    for file in (
        "CIFAR10DVS/cat/cifar10_cat_9.aedat4",
        "DVSGesture/ibmGestureTest/user24_led/3.npy",
        "SHD/shd_test.h5",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(LoadError, match=f"pip install {package}") as caught:
        datasets.load(name)
    assert codes(caught) == ["ND056"]


# ECG


@pytest.mark.parametrize(("split", "recordings", "windows"), [("train", 618, 35_088), ("test", 141, 7_811)])
def test_every_window_is_the_recordings_own(split: str, recordings: int, windows: int) -> None:
    """Windows of 100 steps in steps are what was published, and the label is the published one of the last step."""
    from scipy.io import loadmat

    published = loadmat(data("qtdb_ecg", f"QTDB_{split}.mat"))
    assert recordings == len(published["x"])
    ends = [(i, end) for i, marks in enumerate(published["y"]) for end in range(99, 1301, 20) if marks[end].any()]
    ours = datasets.load("qtdb", split)
    assert windows == len(ends) == len(ours)
    chosen = np.random.default_rng(0).integers(0, windows, 50)
    frames = ours.encode(Encoding("frames", 100), chosen)
    for place, (i, end) in enumerate(ends[k] for k in chosen):
        assert np.array_equal(published["x"][i, end - 99 : end + 1] != 0, frames[:, place])
        assert published["y"][i, end].tolist().index(1) == ours.labels[chosen[place]]


def test_a_damaged_ecg_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .mat file, an empty one, other shapes, two labels for a step."""
    from scipy.io import savemat

    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    path = tmp_path / "QTDB_test.mat"
    x, y = np.zeros((2, qtdb.STEPS, 4)), np.ones((2, qtdb.STEPS, 6))
    for content in (b"", b"no matlab" * 50, {"x": x}, {"x": x[:, 1:], "y": y}, {"x": x, "y": y}):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            savemat(path, content)
        with pytest.raises(LoadError) as caught:
            datasets.load("qtdb")
        assert codes(caught) == ["ND052"]
