"""The PyNN script that is emitted runs by itself: NEST finds the engine's spikes with it; it needs nothing of ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.backends.spinnaker import emit
from neurodeploy.backends.spinnaker.connections import connections_of
from neurodeploy.engine.cells import run_cells
from neurodeploy.errors import UnsupportedError, UsageError
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import ConvSynapses, Program, Projection, SparseSynapses
from tests.spinnaker_networks import convolutional, dense, planar, spikes

NETWORKS = {
    "leaky": dense(40, 30, 8, bias=True),
    "leaky, reset a step late": dense(40, 30, 8, bias=True, reset=Reset.ZERO_NEXT_STEP),
    "recurrent": dense(40, 30, 8, recurrent=True),
    "synaptic": dense(40, 30, 8, alpha=0.75, bias=True),
    "sparse": dense(40, 60, 8, density=0.2),
    "convolution": convolutional(),
    "planes": planar(),
}
needs_nest = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pyNN", "nest")),
    reason="PyNN or NEST is not installed; NEST has no wheel here",
)


def compiled(network: Network) -> Program:
    return pipeline.compile(network, "spinnaker1").program


def executed(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, in the folder where it lies."""
    command = [sys.executable, "-P", str(script), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=script.parent)


@needs_nest
@pytest.mark.parametrize("name", NETWORKS)
def test_nest_finds_the_engines_spikes(name: str, tmp_path: Path) -> None:
    """Every spike of every population at every step, for a sample that is not the first."""
    network = NETWORKS[name]
    program, inputs = compiled(network), spikes(network)
    script, _ = emit(program, inputs, name).write(tmp_path / "net.py")
    done = executed(script, "--simulator", "nest", "--sample", "1", "--spikes", "spikes.npz")
    assert done.returncode == 0, done.stderr
    expected = run_cells(program, inputs)
    with np.load(tmp_path / "spikes.npz") as found:
        for population in program.populations:
            theirs, ours = found[population.name], expected.spikes[population.name][:, 1].reshape(len(inputs), -1)
            assert 0 < theirs.sum() < theirs.size
            np.testing.assert_array_equal(theirs, ours)
    assert f"decision: {expected.predictions[1]}" in done.stdout


@needs_nest
def test_what_nest_would_deliver_late_is_not_run_there(tmp_path: Path) -> None:
    """NEST's IF_curr_exp takes a step more than the recurrence of the network leaves: the script says so and ends."""
    network = dense(40, 30, 8, alpha=0.75, recurrent=True)
    script, _ = emit(compiled(network), spikes(network), "a model").write(tmp_path / "net.py")
    done = executed(script, "--simulator", "nest")
    assert done.returncode == 1
    assert "a step later than others" in done.stderr


def test_the_script_is_python_without_neurodeploy() -> None:
    """Whatever its model is called, it parses, and imports the standard library, NumPy and, by name, a simulator."""
    network = NETWORKS["convolution"]
    text = emit(compiled(network), spikes(network), 'a "model"\\\n"""', "net").text
    tree = ast.parse(text)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules == {"argparse", "importlib", "pathlib", "numpy"}
    assert "{{" not in text
    assert "a convolution, connection by connection" in text
    assert max(map(len, text.splitlines())) <= 240


def test_a_subtracted_threshold_is_refused() -> None:
    network = dense(40, 30, 8, reset=Reset.SUBTRACT_NEXT_STEP)
    with pytest.raises(UnsupportedError, match="ND330"):
        emit(compiled(network), spikes(network), "a model")


def test_nothing_is_left_where_it_cannot_write(tmp_path: Path) -> None:
    network = NETWORKS["leaky"]
    (tmp_path / "net.py").mkdir()
    with pytest.raises(UsageError, match="ND407"):
        emit(compiled(network), spikes(network), "a model").write(tmp_path / "net.py")
    assert [path.name for path in tmp_path.iterdir()] == ["net.py"]


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)])
def test_connections_of_a_kernel_are_the_convolution(stride: int, padding: int, dilation: int, groups: int) -> None:
    """As a matrix they do to any input what torch's conv2d does."""
    import torch

    rng = np.random.default_rng(0)
    kernel = rng.integers(-9, 10, (4, 2 // groups, 3, 2)).astype(np.int32)
    pairs = {"stride": (stride, stride), "padding": (padding, padding), "dilation": (dilation, dilation)}
    image = rng.integers(0, 5, (2, 7, 6))
    expected = torch.nn.functional.conv2d(
        torch.tensor(image, dtype=torch.float64)[None],
        torch.tensor(kernel, dtype=torch.float64),
        groups=groups,
        **pairs,
    )[0].numpy()
    conv = ConvSynapses(kernel, image.shape, expected.shape, *pairs.values(), groups)
    found = connections_of(Projection("conv", "input", "lif", conv))
    matrix = np.zeros((expected.size, image.size))
    np.add.at(matrix, (found.post, found.pre), found.weights)
    np.testing.assert_array_equal((matrix @ image.reshape(-1)).reshape(expected.shape), expected)
    assert found.weights.all()


def test_connections_are_listed_by_source() -> None:
    """sPyNNaker 7.4.1 counts the longest row wrongly in any other order."""
    rng = np.random.default_rng(0)
    mantissa, indices = rng.integers(-1, 2, 400).astype(np.int32), rng.permuted(np.tile(np.arange(30), (20, 1)), axis=1)
    rows = SparseSynapses(mantissa, indices[:, :20].reshape(-1).astype(np.int32), np.arange(0, 401, 20))
    found = connections_of(Projection("fc", "input", "lif", rows))
    assert np.all(np.diff(found.pre.astype(np.int64) * 20 + found.post) > 0)
    assert len(found.pre) == np.count_nonzero(mantissa)
