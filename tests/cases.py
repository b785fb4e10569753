"""Where third-party networks, recordings and data lie: NEURODEPLOY_CASES and NEURODEPLOY_DATA, or ../shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def case(*parts: str) -> Path:
    """Return a path below the cases folder, or skip the test with the reason."""
    folder = Path(os.environ.get("NEURODEPLOY_CASES") or REPOSITORY.parent / "shared" / "cases")
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not there: set NEURODEPLOY_CASES to the folder of recorded cases")
    return path


def data(*parts: str) -> Path:
    """Return a path below the data folder, or skip the test with the reason."""
    folder = Path(os.environ.get("NEURODEPLOY_DATA") or REPOSITORY.parent / "shared" / "data")
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not there: set NEURODEPLOY_DATA to the folder of datasets")
    return path


def model(name: str) -> Path:
    """Return a shipped model's checkpoint."""
    return REPOSITORY / "models" / name / "model.pt"
