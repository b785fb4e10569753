"""Every example runs to its end and says what it promises."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.cases import REPOSITORY, case

SAYS = {
    "01_your_own_network.py": ("every spike and state: True", "by rounding only:             True"),
    "02_embed_in_lava.py": ("Lava's network says",),
    "06_lif_on_platforms.py": ("Each recording replayed", "Loihi 2, replayed in integers: 0 of 2000 values differ"),
    "05_embed_in_pynn.py": ("this is a           7", "brian2's network says 7"),
    "04_new_classes_on_chip.py": ("learned on chip from random weights", " 0 differ from Lava's learning engine"),
    "03_local_learning.py": ("e-prop, as a table", "by rounding: True\neprop", "by rounding: True\ndecolle"),
    "stdp_on_lava/learn_features.py": ("as deployed: 9", " 0 differ from Lava's learning engine"),
    "eprop_in_lava/learn_digits.py": ("other samples before", "after learning from 20:"),
}
ARGUMENTS = {
    "05_embed_in_pynn.py": ["brian2"],
    "eprop_in_lava/learn_digits.py": ["--limit", "20"],
    "stdp_on_lava/learn_features.py": ["--epochs", "3", "--figure", os.devnull],
}
RECORDINGS = {"06_lif_on_platforms.py": ("nir_paper", "01_lif")}
"""What an example plays back, of the folder of cases."""
EXAMPLES = REPOSITORY / "examples"


def said_by(example: str, *arguments: str) -> str:
    """Return what an example prints, once it has come to its end."""
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "example", sorted({str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")} - {"onchip/measure.py"})
)
def test_example(example: str) -> None:
    if example in RECORDINGS:
        case(*RECORDINGS[example])
    said = said_by(example, *ARGUMENTS.get(example, []))
    for words in SAYS[example]:
        assert words in said


def test_without_recordings_the_example_says_what_it_needs(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NEURODEPLOY_CASES", str(tmp_path))
    assert "set NEURODEPLOY_CASES" in said_by("06_lif_on_platforms.py")


def test_curves_are_drawn_from_the_committed_results(tmp_path) -> None:
    """Without learning again, which takes an hour."""
    shutil.copy(EXAMPLES / "onchip" / "results.json", tmp_path)
    said = said_by("onchip/measure.py", "--draw", "--folder", str(tmp_path))
    assert len(re.findall(r"(?:digits|deep) +(?:e-prop|DECOLLE).* 5 seeds", said)) == 8
    assert (tmp_path / "digits.png").stat().st_size > 10_000


def test_the_layer_in_a_lava_program_learns() -> None:
    """Three classes from chance to nearly all, in Lava's runtime."""
    before, after = (int(share) for share in re.findall(r"(\d+)%", said_by("eprop_in_lava/learn_digits.py", "--fused")))
    assert before < 50
    assert after >= 85


BOTH_WAYS = """
import numpy as np
from learn_digits import beginning, engine, fused, present

images, labels, weights, feedback = beginning()
(_, one), (_, other) = (present(build, images[:8], labels[:8], weights, feedback, True) for build in (engine, fused))
for begun, learned, same in zip(weights, one, other):
    assert np.mean(learned != begun) > 1 / 3
    assert np.abs(learned - same).max() < 1e-12
print("alike")
"""


def test_the_layer_wired_by_hand_learns_the_weights_of_the_fused_one() -> None:
    """The example's own wiring, delays and schedule, against `PlasticNetwork`, which the engine's tests hold."""
    folder = EXAMPLES / "eprop_in_lava"
    command = [sys.executable, "-c", BOTH_WAYS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout == "alike\n", done.stderr
