"""Every example runs to its end and says what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import REPOSITORY

SAYS = {
    "01_your_own_network.py": ("every spike and state: True", "by rounding only:             True"),
    "02_embed_in_lava.py": ("Lava's network says",),
    "05_new_classes_on_chip.py": ("learned on chip from random weights", " 0 differ from Lava's learning engine"),
    "03_local_learning.py": ("e-prop, as a table", "by rounding: True\neprop", "by rounding: True\ndecolle"),
}


@pytest.mark.parametrize("example", sorted(REPOSITORY.glob("examples/*.py")), ids=lambda path: path.name)
def test_example(example: Path) -> None:
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    for words in SAYS[example.name]:
        assert words in done.stdout
