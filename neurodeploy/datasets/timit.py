"""TIMIT: which phone is spoken? The corpus of the LDC, and the sample of it that NLTK distributes."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurodeploy.datasets import places
from neurodeploy.datasets.features import HOP_S, WINDOW_S, Features, log_mel, read_wav

RATE_HZ = 16_000
CHANNELS = 40
WINDOW_FRAMES = 20
"""A sample is this much sound, 200 ms, around the middle of a phone."""

PHONES = (
    "aa", "ae", "ah", "aw", "ay", "b", "ch", "d", "dh", "dx", "eh", "er", "ey", "f", "g", "hh", "ih", "iy", "jh", "k",
    "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "sil", "t", "th", "uh", "uw", "v", "w", "y", "z",
)  # fmt: skip
"""The 39 classes of Lee and Hon (1989)."""

FOLDED = {
    "ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "el": "l", "em": "m", "en": "n",
    "nx": "n", "eng": "ng", "zh": "sh", "ux": "uw", "pcl": "sil", "tcl": "sil", "kcl": "sil", "bcl": "sil",
    "dcl": "sil", "gcl": "sil", "h#": "sil", "pau": "sil", "epi": "sil",
}  # fmt: skip
"""The other 22 of TIMIT's 61 labels; the glottal stop "q" belongs to no class and is left out."""

LEFT_OUT = "q"

CORE_TEST = (
    "mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0", "mjmp0", "mlnt0", "fpkt0", "mlll0", "mtls0", "fjlm0",
    "mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0", "mgrt0", "mnjm0", "fdhc0", "mjln0", "mpam0", "fmld0",
)  # fmt: skip
"""The 24 speakers of TIMIT's core test set (testset.doc, table 1)."""

SAMPLE_TEST = ("mcpm0", "falk0", "mbgt0", "fblv0")
"""Our choice: NLTK's 16 speakers all belong to TIMIT's own TRAIN. 32 of their 128 utterances."""

CORPUS_LAYOUTS = ("TIMIT", "timit/TIMIT", "timit", "LDC93S1/TIMIT")
SAMPLE_LAYOUTS = ("timit_sample/timit_sample.tar.xz", "timit_sample", "corpora/timit", "corpora/timit.zip")
CORPUS_FILE = re.compile(r"(train|test)/dr\d/([a-z0-9]+)/(s[ix]\d+)\.(wav|phn)", re.IGNORECASE)
SAMPLE_FILE = re.compile(r"(?:.*/)?dr\d-([a-z0-9]+)/(s[ix]\d+)\.(wav|phn)", re.IGNORECASE)
"""Without sa1 and sa2, which every speaker reads and TIMIT's documentation keeps out of training and test."""

SPHERE = b"NIST_1A\n   1024\n"
"""How a recording of the LDC begins: a header of text, 1,024 bytes long, then the samples."""

VERSION = "timit-1"
"""Of the cached arrays."""


def load_corpus(split: str, obtain: str) -> tuple[Features, np.ndarray]:
    """Return the phones of the LDC's corpus: TRAIN without SA (3,696 utterances), or the core test set (192).

    Raises:
        LoadError: ND051 when it is not there, ND052 when a file is damaged.
    """
    folders = [f"{layout}/{folder}" for layout in CORPUS_LAYOUTS for folder in (split.upper(), split)]
    path = places.find("TIMIT", folders, obtain).parent

    def belongs(name: str) -> bool:
        matched = CORPUS_FILE.fullmatch(name)
        if matched is None or matched[1].lower() != split:
            return False
        return split == "train" or matched[2].lower() in CORE_TEST

    return _load(path, split, belongs)


def load_sample(split: str, obtain: str) -> tuple[Features, np.ndarray]:
    """Return the phones of NLTK's sample: 96 utterances of twelve speakers for "train", 32 of four for "test".

    Raises:
        LoadError: ND051 when it is not there, ND052 when a file is damaged.
    """
    path = places.find("TIMIT sample", SAMPLE_LAYOUTS, obtain)

    def belongs(name: str) -> bool:
        matched = SAMPLE_FILE.fullmatch(name)
        return matched is not None and (matched[1].lower() in SAMPLE_TEST) == (split == "test")

    return _load(path, split, belongs)


def _load(path: Path, split: str, belongs: places.Wanted) -> tuple[Features, np.ndarray]:
    """Return one sample for every labeled phone, in the order of the utterances and of time.

    Returns:
        features of 40 channels (see `features.log_mel`), 20 frames around the middle of the phone, before and after an
        utterance silence; labels (sample,) int64 into `PHONES`.
    """
    key = f"{VERSION}/{split}-{places.fingerprint(path)}"
    arrays = places.cached(key, ("values", "middles", "labels"), lambda: _read(path, belongs))
    half = WINDOW_FRAMES / 2
    spans = np.stack([arrays["middles"] - half, arrays["middles"] + half], axis=1)
    return Features(arrays["values"], spans), arrays["labels"]


def utterances(path: Path, belongs: places.Wanted) -> Iterator[tuple[str, bytes, str]]:
    """Yield (name, sound file, phone labels) of every utterance that belongs, by name."""
    files = {name.lower(): content for name, content in places.members(path, belongs)}
    for name in sorted(name for name in files if name.endswith(".wav")):
        labels = files.get(name.removesuffix("wav") + "phn")
        if labels is None:
            raise places.damaged(path, f"has {name} without its .phn")
        yield name, files[name], labels.decode("ascii", errors="replace")


def _read(path: Path, belongs: places.Wanted) -> dict[str, np.ndarray]:
    margin = np.zeros((WINDOW_FRAMES // 2, CHANNELS), np.float32)
    parts, middles, labels, begin = [margin], [], [], len(margin)
    for name, content, phones in utterances(path, belongs):
        values = log_mel(read_sound(path, name, content), RATE_HZ, CHANNELS)
        for first, end, phone in _segments(path, name, phones):
            if phone != LEFT_OUT:
                middle_s = (first + end) / 2 / RATE_HZ - WINDOW_S / 2
                middles.append(begin + np.clip(middle_s / HOP_S, 0, len(values)))
                labels.append(PHONES.index(FOLDED.get(phone, phone)))
        parts += [values, margin]
        begin += len(values) + len(margin)
    if not labels:
        raise places.damaged(path, "has no labeled utterance of this split")
    return {"values": np.concatenate(parts), "middles": np.array(middles), "labels": np.array(labels, np.int64)}


def _segments(path: Path, name: str, phones: str) -> list[tuple[int, int, str]]:
    """Return (first, end, phone) of a .phn file, in samples of sound."""
    try:
        segments = [(int(first), int(end), phone) for first, end, phone in map(str.split, phones.splitlines())]
    except ValueError as error:
        raise places.damaged(path, f"has labels of {name} that are not `first end phone` per line") from error
    unknown = {phone for *_, phone in segments} - set(PHONES) - set(FOLDED) - {LEFT_OUT}
    if unknown:
        raise places.damaged(path, f"has labels of {name} that TIMIT does not have: {', '.join(sorted(unknown))}")
    return segments


def read_sound(path: Path, name: str, content: bytes) -> np.ndarray:
    """Return the samples (time,) int16 of a recording, NIST SPHERE as the LDC publishes it or .wav.

    Raises:
        LoadError: ND052 when it is of another kind.
    """
    if not content.startswith(SPHERE):
        return read_wav(path, name, content, RATE_HZ)
    header = content[:1024].decode("ascii", errors="replace")
    facts = dict(re.findall(r"^(\w+) -\w+ (\S+)$", header, re.MULTILINE))
    order = {"01": "<i2", "10": ">i2"}.get(facts.get("sample_byte_format", ""))
    plain = facts.get("sample_coding", "pcm") == "pcm" and facts.get("channel_count", "1") == "1"
    if order is None or not plain or facts.get("sample_rate") != str(RATE_HZ):
        what = f"holds {name}, which is no uncompressed sound of one channel, 16 bits and {RATE_HZ} Hz"
        raise places.damaged(path, what)
    return np.frombuffer(content[1024:][: len(content[1024:]) // 2 * 2], order).astype(np.int16)
