"""Sound against facts from elsewhere: integrals by hand, pure tones, the corpora's own counts and labels."""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import datasets
from neurodeploy.datasets import Encoding, features, timit
from neurodeploy.datasets.features import Features, log_mel
from neurodeploy.errors import LoadError
from tests.cases import data

SAMPLE = ("timit_sample", "timit_sample.tar.xz")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURODEPLOY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def fsdd() -> dict[str, datasets.Recordings]:
    data("fsdd", "fsdd_recordings.tar.xz")
    return {split: datasets.load("fsdd", split) for split in datasets.SPLITS}


@pytest.fixture(scope="module")
def sample() -> dict[str, datasets.Recordings]:
    data(*SAMPLE)
    return {split: datasets.load("timit-sample", split) for split in datasets.SPLITS}


def codes(caught: pytest.ExceptionInfo) -> list[str]:
    return [finding.code for finding in caught.value.findings]


def wav(sound: np.ndarray, rate_hz: int, channels: int = 1) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(sound.astype("<i2").tobytes())
    return target.getvalue()


def flat(recordings: datasets.Recordings, steps: int) -> np.ndarray:
    return recordings.encode(Encoding("frames", steps)).transpose(1, 0, 2).reshape(len(recordings), -1)


# frames of features


@pytest.mark.parametrize("steps", [1, 3, 4, 10])
def test_frames_are_means_over_equal_parts(steps: int) -> None:
    """Numerical integration at 1,000 points of each part gives the same, shrinking, stretching and between frames."""
    values = np.random.default_rng(0).random((9, 2)).astype(np.float32)
    spans = np.array([[0, 4], [2.25, 8.5], [4, 9]])
    actual = Features(values, spans).frames(steps, np.array([2, 0, 1]))
    assert actual.dtype == np.float32
    for place, (begin, end) in enumerate(spans[[2, 0, 1]]):
        points = begin + (end - begin) * (np.arange(1000 * steps) + 0.5) / (1000 * steps)
        expected = values[points.astype(int)].reshape(steps, 1000, 2).mean(1)
        assert np.allclose(expected, actual[:, place], atol=1e-3)


def test_as_many_steps_as_frames_are_the_frames() -> None:
    values = np.random.default_rng(0).random((7, 3)).astype(np.float32)
    actual = Features(values, np.array([[1.0, 6.0]])).frames(5, np.array([0]))
    assert np.allclose(values[1:6], actual[:, 0], atol=1e-6)


def test_features_do_not_depend_on_the_batch(fsdd: dict[str, datasets.Recordings]) -> None:
    """Any order, with or without the others, and of a dataset cut by `limit`: the same features to the bit."""
    encoding = Encoding("frames", 50)
    whole = fsdd["test"].encode(encoding)
    assert whole.shape == (50, 300, 32)
    assert fsdd["test"].shape(encoding) == (32,)
    order = np.random.default_rng(0).permutation(300)[:40]
    assert np.array_equal(whole[:, order], fsdd["test"].encode(encoding, order))
    assert np.array_equal(whole[:, :7], datasets.load("fsdd", "test", 7).encode(encoding))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_a_tone_is_loudest_in_its_own_band(rate_hz: int) -> None:
    """A tone of a band's center frequency, by the mel formula, is 1 there in every frame; gain changes nothing."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    for band in (3, 12, 25, 31):
        center_hz = 700 * (10 ** ((band + 1) * top / 33 / 2595) - 1)
        tone = np.sin(2 * np.pi * center_hz * np.arange(rate_hz // 2) / rate_hz)
        energy = log_mel(tone, rate_hz, 32)
        assert len(energy) == 1 + (len(tone) - rate_hz // 40) // (rate_hz // 100)
        assert (energy.argmax(1) == band).all()
        assert energy[:, band].min() > 0.99
        assert np.allclose(energy, log_mel(1000 * tone, rate_hz, 32), atol=1e-5)


def test_decibels_are_sixtieths() -> None:
    """A second half 30 dB below the first lies at one half; silence at 0, alone too, however short."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    energy = log_mel(np.concatenate([tone, tone * 10 ** (-30 / 20), 0 * tone]), 8000, 32)
    band = energy[20].argmax()
    assert energy[20, band] == pytest.approx(1, abs=1e-3)
    assert energy[150, band] == pytest.approx(0.5, abs=1e-3)
    assert not energy[250].any()
    assert log_mel(np.zeros(50), 8000, 32).tolist() == [[0] * 32]


# FSDD


def test_fsdd_has_its_official_split(fsdd: dict[str, datasets.Recordings]) -> None:
    """2,700 and 300 recordings, every digit equally often, each ten in a row being the ten digits of one speaker."""
    assert [len(part) for part in fsdd.values()] == [2700, 300]
    for part in fsdd.values():
        assert part.name == "FSDD"
        assert (part.labels.reshape(-1, 10) == np.arange(10)).all()


def test_fsdds_features_tell_the_digits_apart(fsdd: dict[str, datasets.Recordings]) -> None:
    """Logistic regression reaches about the 96.7 % that the data folder's README reports for log-mel features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    with threadpool_limits(1):
        classifier.fit(flat(fsdd["train"], 12), fsdd["train"].labels)
    assert classifier.score(flat(fsdd["test"], 12), fsdd["test"].labels) == pytest.approx(0.967, abs=0.02)


def test_fsdd_is_read_from_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacked files give what the archive gives; takes 0 to 4 are the test, whatever the order of the names."""
    folder = tmp_path / "free-spoken-digit-dataset/recordings"
    folder.mkdir(parents=True)
    sound = np.random.default_rng(0).integers(-3000, 3000, 4000)
    for name in ("3_theo_4", "1_theo_5", "7_jackson_0", "2_theo_12"):
        (folder / f"{name}.wav").write_bytes(wav(sound, 8000))
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    train, test = datasets.load("fsdd", "train"), datasets.load("fsdd", "test")
    assert train.name == "FSDD, 2 of 2,700"
    assert train.labels.tolist() == [1, 2]
    assert test.labels.tolist() == [7, 3]
    frames = len(log_mel(sound, 8000, 32))
    assert np.allclose(
        log_mel(sound, 8000, 32), test.encode(Encoding("frames", frames), np.array([1]))[:, 0], atol=1e-6
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF no sound",
        wav(np.zeros(99), 16_000),
        wav(np.zeros(98), 8000, channels=2),
        wav(np.zeros(99), 8000)[:30],
    ],
    ids=["empty", "no wav", "rate", "stereo", "cut"],
)
def test_a_damaged_recording_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    (tmp_path / "fsdd/recordings").mkdir(parents=True)
    (tmp_path / "fsdd/recordings/3_theo_4.wav").write_bytes(content)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    with pytest.raises(LoadError, match=r"3_theo_4\.wav") as caught:
        datasets.load("fsdd")
    assert codes(caught) == ["ND052"]


def test_a_damaged_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = data("fsdd", "fsdd_recordings.tar.xz").read_bytes()
    (tmp_path / "fsdd").mkdir()
    (tmp_path / "fsdd/fsdd_recordings.tar.xz").write_bytes(archive[:100_000])
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    with pytest.raises(LoadError) as caught:
        datasets.load("fsdd")
    assert codes(caught) == ["ND052"]


# TIMIT


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    """Every file of NLTK's sample by its name."""
    with tarfile.open(data(*SAMPLE)) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}


def published_phones(published: dict[str, bytes], test: bool) -> list[tuple[str, float, str]]:
    """Return (utterance, middle in s, phone) of every label but q, read from the .phn files by themselves."""
    speakers = ("dr1-mcpm0", "dr3-falk0", "dr5-mbgt0", "dr7-fblv0")
    found = []
    for name in sorted(name for name in published if name.endswith(".phn") and "/sa" not in name):
        if (name.split("/")[1] in speakers) == test:
            for line in published[name].decode().splitlines():
                first, end, phone = line.split()
                if phone != "q":
                    found.append((name, (int(first) + int(end)) / 32_000, phone))
    return found


@pytest.mark.parametrize(("split", "utterances"), [("train", 96), ("test", 32)])
def test_every_labeled_phone_is_a_sample(
    sample: dict[str, datasets.Recordings], published: dict[str, bytes], split: str, utterances: int
) -> None:
    """The labels of 96 and 32 utterances, in order, folded as Lee and Hon did; the name says it is a sample."""
    phones = published_phones(published, split == "test")
    assert len({name for name, *_ in phones}) == utterances
    folded = [timit.PHONES.index(timit.FOLDED.get(phone, phone)) for *_, phone in phones]
    assert folded == sample[split].labels.tolist()
    assert sample[split].name == "TIMIT sample (NLTK)"
    assert sample[split].classes == 39


def test_the_classes_are_lee_and_hons() -> None:
    """TIMIT's 61 labels: 38 that stand for themselves, 22 folded into others or into silence, and one left out."""
    assert len(timit.PHONES) == len(set(timit.PHONES)) == 39
    assert len({*timit.PHONES, *timit.FOLDED, timit.LEFT_OUT} - {"sil"}) == 61
    assert set(timit.FOLDED.values()) <= set(timit.PHONES)


def test_a_sample_is_the_sound_around_its_phone(
    sample: dict[str, datasets.Recordings], published: dict[str, bytes]
) -> None:
    """The 20 frames are the utterance's own, centered on the phone to half a frame."""
    phones = published_phones(published, test=True)
    chosen = [i for i, (*_, phone) in enumerate(phones) if phone in ("aa", "ae", "iy")][:40]
    frames = sample["test"].encode(Encoding("frames", 20), np.array(chosen))
    for place, i in enumerate(chosen):
        name, middle_s, _ = phones[i]
        sound = features.read_wav(Path(), name, published[name[:-3] + "wav"], 16_000)
        values = log_mel(sound, 16_000, 40)
        nearest = round((middle_s - features.WINDOW_S / 2) / features.HOP_S)
        part = values[max(0, nearest - 10) : nearest + 10]
        if len(part) == 20:
            assert np.corrcoef(part.ravel(), frames[:, place].ravel())[0, 1] > 0.95


def sphere(sound: np.ndarray, order: str = "01") -> bytes:
    """Return a NIST SPHERE file as the LDC publishes them."""
    lines = (
        "channel_count -i 1", f"sample_count -i {len(sound)}", "sample_rate -i 16000", "sample_n_bytes -i 2",
        f"sample_byte_format -s2 {order}", "sample_sig_bits -i 16", "end_head",
    )  # fmt: skip
    header = "NIST_1A\n   1024\n" + "".join(f"{line}\n" for line in lines)
    return header.encode().ljust(1024) + sound.astype({"01": "<i2", "10": ">i2"}[order]).tobytes()


def write_corpus(folder: Path, published: dict[str, bytes]) -> None:
    """Lay three utterances of NLTK's sample out as the LDC's corpus; two of them as a core test speaker's."""
    for part, source, name in (
        ("TRAIN/DR1/FVMH0/SX26", "dr1-fvmh0", "sx26"),
        ("TRAIN/DR1/FVMH0/SA1", "dr1-fvmh0", "sa1"),
        ("TEST/DR1/MDAB0/SX116", "dr1-fvmh0", "sx116"),
        ("TEST/DR1/MABC0/SX206", "dr1-fvmh0", "sx206"),
    ):
        file = folder / part
        file.parent.mkdir(parents=True, exist_ok=True)
        content = published[f"timit_sample/{source}/{name}.wav"]
        sound = features.read_wav(file, name, content, 16_000)
        file.with_suffix(".WAV").write_bytes(sphere(sound, "10" if "TEST" in part else "01"))
        file.with_suffix(".PHN").write_bytes(published[f"timit_sample/{source}/{name}.phn"])


def test_the_ldcs_corpus_is_read_as_published(
    published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPHERE sound of either byte order, capital names; no SA sentence and no test speaker beyond the core."""
    write_corpus(tmp_path / "TIMIT", published)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    for split, name in (("train", "sx26"), ("test", "sx116")):
        recordings = datasets.load("timit", split)
        lines = [line for line in published[f"timit_sample/dr1-fvmh0/{name}.phn"].decode().splitlines() if line]
        phones = [line.split()[2] for line in lines]
        expected = [timit.PHONES.index(timit.FOLDED.get(phone, phone)) for phone in phones if phone != "q"]
        assert expected == recordings.labels.tolist()
        assert recordings.name == "TIMIT"
        sound = features.read_wav(tmp_path, name, published[f"timit_sample/dr1-fvmh0/{name}.wav"], 16_000)
        values = recordings.streams.values
        assert np.array_equal(log_mel(sound, 16_000, 40), values[10:-10])
        assert not values[:10].any()


def test_the_core_test_set_is_balanced() -> None:
    """Of each of eight dialect regions two men and a woman, as testset.doc says."""
    assert "".join(speaker[0] for speaker in timit.CORE_TEST) == "mmf" * 8
    assert len(set(timit.CORE_TEST)) == 24


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".PHN", b"0 100\n"),
        (".PHN", b"0 100 xx\n"),
        (".PHN", b"a b h#\n"),
        (".PHN", None),
        (".WAV", b"NIST_1A\n   1024\nsample_rate -i 8000\n".ljust(1024)),
        (".WAV", b"NIST_1A\n   1024\nsample_rate -i 16000\nsample_coding -s26 pcm,embedded-shorten\n".ljust(1024)),
        (".WAV", b""),
    ],
)
def test_a_damaged_corpus_is_refused(
    published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: bytes | None
) -> None:
    write_corpus(tmp_path / "TIMIT", published)
    monkeypatch.setenv("NEURODEPLOY_DATA", str(tmp_path))
    file = (tmp_path / "TIMIT/TEST/DR1/MDAB0/SX116").with_suffix(suffix)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        datasets.load("timit")
    assert codes(caught) == ["ND052"]


def test_timit_is_not_offered_but_named() -> None:
    """Its licence is the LDC's: the refusal says under which number it is sold."""
    assert "LDC93S1" in datasets.DESCRIPTIONS["timit"]
