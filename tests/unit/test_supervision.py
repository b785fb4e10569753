"""A child process that stands still is given up: by a limit of our own, or by the one that was named, not by both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurodeploy.backends import supervision
from neurodeploy.backends.supervision import CLOCK, LOG, Worker, await_result
from neurodeploy.errors import BackendFailedError


@pytest.mark.parametrize(("timeout_s", "said"), [(None, "no step for"), (0.5, "0 of 10 after 0.5 s")])
def test_more_time_that_is_given_is_had(
    timeout_s: float | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the remedy says, --timeout helps a worker whose single steps take longer than we wait."""
    monkeypatch.setattr(supervision, "STALL_S", 0.1)
    np.zeros(1, np.int64).tofile(tmp_path / CLOCK)
    (tmp_path / LOG).write_text("")
    worker = Worker("none", "a simulator", "ND311", "ND312", "none")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        try:
            with pytest.raises(BackendFailedError, match="ND312") as late:
                await_result(worker, process, tmp_path, 10, None, timeout_s)
        finally:
            process.kill()
    assert said in late.value.findings[0].what
    assert "--timeout" in late.value.findings[0].fix
