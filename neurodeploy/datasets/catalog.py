"""Every dataset in one table: what it is, under which licence, how it is split, and how to get it."""

from dataclasses import dataclass

from neurodeploy.datasets import mnist
from neurodeploy.datasets.encodings import Encoding


@dataclass(frozen=True)
class Entry:
    """One dataset.

    Args:
        title: what its samples are called in text.
        classes: labels lie in 0 .. classes - 1.
        sizes: (train, test) as published; where fewer are found, the title says so. None when there is one size only.
        encoding: how samples become input when nobody says otherwise.
        split, source, licence: one phrase each.
        obtain: the remedy when it is not found.
    """

    title: str
    classes: int
    sizes: tuple[int, int] | None
    encoding: Encoding
    split: str
    source: str
    licence: str
    obtain: str

    @property
    def description(self) -> str:
        """One line for lists."""
        return f"{self.source}; {self.split}; {self.licence}"


def _download(name: str) -> str:
    return f"neurodeploy.datasets.download('{name}')"


CATALOG = {
    "digits": Entry(
        title="digits",
        classes=10,
        sizes=None,
        encoding=Encoding("direct", 16),
        split="1,437 train / 360 test, ours, stratified",
        source="8 x 8 handwritten digits shipped in scikit-learn (UCI)",
        licence="CC BY 4.0",
        obtain="pip install scikit-learn",
    ),
    "mnist": Entry(
        title="mnist",
        classes=10,
        sizes=None,
        encoding=Encoding("rate", 25),
        split="60,000 train / 10,000 test",
        source="28 x 28 handwritten digits (LeCun, Cortes, Burges)",
        licence="CC BY-SA 3.0 as usually stated",
        obtain=mnist.OBTAIN["mnist"],
    ),
    "fashion-mnist": Entry(
        title="fashion-mnist",
        classes=10,
        sizes=None,
        encoding=Encoding("rate", 25),
        split="60,000 train / 10,000 test",
        source="28 x 28 pictures of clothes (Xiao, Rasul, Vollgraf 2017)",
        licence="MIT",
        obtain=mnist.OBTAIN["fashion-mnist"],
    ),
    "nmnist": Entry(
        title="N-MNIST",
        classes=10,
        sizes=(60_000, 10_000),
        encoding=Encoding("frames", 30),
        split="60,000 train / 10,000 test, or as many as are there (the sample in the data folder: 1,000 / 100)",
        source="MNIST filmed by a moving event camera, 2 x 34 x 34, real recordings (Orchard et al. 2015)",
        licence="CC BY-SA 4.0",
        obtain=f"{_download('nmnist')}, or put NMNIST/Train/<class>/*.bin, or the published train.zip and test.zip in "
        "NMNIST/, below NEURODEPLOY_DATA; `nmnist-simulated` is computed from MNIST instead",
    ),
    "nmnist-simulated": Entry(
        title="simulated N-MNIST",
        classes=10,
        sizes=None,
        encoding=Encoding("frames", 30),
        split="10,000 train / 2,000 test, MNIST's first",
        source="event streams computed from MNIST by a model of the camera, 2 x 34 x 34; never N-MNIST itself",
        licence="CC BY-SA 3.0 with MNIST",
        obtain=mnist.OBTAIN["mnist"],
    ),
    "dvs-gesture": Entry(
        title="DVS128 Gesture",
        classes=11,
        sizes=(1077, 264),
        encoding=Encoding("frames", 60),
        split="official, by person: 1,077 train / 264 test, or as many as are there",
        source="hand gestures seen by an event camera, 2 x 128 x 128 (Amir et al. 2017), as tonic cuts them",
        licence="CC BY 4.0",
        obtain=f"{_download('dvs-gesture')}, or put tonic's DVSGesture/ibmGestureTrain and ibmGestureTest below "
        "NEURODEPLOY_DATA",
    ),
    "cifar10-dvs": Entry(
        title="CIFAR10-DVS",
        classes=10,
        sizes=(9000, 1000),
        encoding=Encoding("frames", 30),
        split="9,000 train / 1,000 test, ours: numbers ending with 9",
        source="CIFAR-10 seen by an event camera, 2 x 128 x 128 (Li et al. 2017)",
        licence="CC BY 4.0",
        obtain=f"{_download('cifar10-dvs')}, or put tonic's CIFAR10DVS/<class>/*.aedat4 below NEURODEPLOY_DATA",
    ),
    "cifar10": Entry(
        title="CIFAR-10",
        classes=10,
        sizes=(50_000, 10_000),
        encoding=Encoding("direct", 8),
        split="50,000 train / 10,000 test, or the data folder's first 10,000 / 1,000",
        source="3 x 32 x 32 photographs of ten kinds of things (Krizhevsky 2009)",
        licence="none stated, so no download is offered",
        obtain="unpack cifar-10-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html into the folder of "
        "NEURODEPLOY_DATA",
    ),
    "cifar100": Entry(
        title="CIFAR-100",
        classes=100,
        sizes=(50_000, 10_000),
        encoding=Encoding("direct", 8),
        split="50,000 train / 10,000 test",
        source="3 x 32 x 32 photographs of a hundred kinds of things (Krizhevsky 2009)",
        licence="none stated, so no download is offered",
        obtain="unpack cifar-100-python.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html into the folder of "
        "NEURODEPLOY_DATA",
    ),
    "timit": Entry(
        title="TIMIT",
        classes=39,
        sizes=None,
        encoding=Encoding("frames", 20),
        split="TRAIN without SA (3,696 utterances) / core test set (192)",
        source="phones of read American English, 39 classes, 200 ms as 40 log-mel features (LDC93S1)",
        licence="sold by the LDC, so no download is offered",
        obtain="get LDC93S1 at https://catalog.ldc.upenn.edu/LDC93S1 and put its TIMIT folder below NEURODEPLOY_DATA; "
        "NLTK's sample of it is `timit-sample`",
    ),
    "timit-sample": Entry(
        title="TIMIT sample (NLTK)",
        classes=39,
        sizes=None,
        encoding=Encoding("frames", 20),
        split="ours, by speaker: 96 utterances train / 32 test, without SA",
        source="phones of 16 speakers of TIMIT, 39 classes, 200 ms as 40 log-mel features",
        licence="CC BY-NC-SA: not for commercial use, so no download is offered",
        obtain="python -c \"import nltk; nltk.download('timit', download_dir=FOLDER)\", with FOLDER that of "
        "NEURODEPLOY_DATA",
    ),
    "fsdd": Entry(
        title="FSDD",
        classes=10,
        sizes=(2700, 300),
        encoding=Encoding("frames", 50),
        split="official: takes 5-49 train (2,700) / 0-4 test (300)",
        source="Free Spoken Digit Dataset, six speakers, as 32 log-mel features (Jackson et al.)",
        licence="CC BY-SA 4.0",
        obtain="git clone https://github.com/Jakobovski/free-spoken-digit-dataset into the folder of NEURODEPLOY_DATA",
    ),
    "qtdb": Entry(
        title="QTDB",
        classes=6,
        sizes=None,
        encoding=Encoding("frames", 50),
        split="of Yin et al. (2021): 35,088 windows of 618 recordings train / 7,811 of 141 test",
        source="which wave of the heartbeat is it now, from 0.4 s of level-crossing coded ECG, 4 channels",
        licence="QT database ODC-By 1.0, coding MIT",
        obtain=f"{_download('qtdb')}, or put QTDB_train.mat and QTDB_test.mat of "
        "https://github.com/byin-cwi/Efficient-spiking-networks into qtdb_ecg/ below NEURODEPLOY_DATA",
    ),
    "shd": Entry(
        title="SHD",
        classes=20,
        sizes=(8156, 2264),
        encoding=Encoding("frames", 50),
        split="official: 8,156 train / 2,264 test",
        source="Spiking Heidelberg Digits, spoken in English and German, 700 channels (Cramer et al. 2020)",
        licence="CC BY 4.0",
        obtain=f"{_download('shd')}, or put shd_train.h5 and shd_test.h5 of https://zenkelab.org/datasets into SHD/ "
        "below NEURODEPLOY_DATA",
    ),
}
