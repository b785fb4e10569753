"""Which convolutions become ConvolutionConnectors: those that these compute exactly, where it takes no more cores."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from neurodeploy import display, pipeline, summary
from neurodeploy.artifact import load_artifact, save_artifact
from neurodeploy.backends.spinnaker.convolution import CELLS_PER_CORE, Plane, layout_of
from neurodeploy.hardware import load_profile
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Conv, Input, InputKind, Node, Reset
from neurodeploy.ir.program import DenseSynapses
from tests.spinnaker_networks import ENCODING, planar, spikes


def convolution(
    kernel: tuple[int, int] = (3, 3),
    channels: int = 1,
    plane: tuple[int, int] = (16, 16),
    weight: np.ndarray | None = None,
    alpha: float | None = 0.75,
    recurrent: bool = False,
    **options: Any,
) -> Network:
    """Return one convolution of one channel, or the same convolution reading its own output too."""
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1} | options
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, options["dilation"], strict=True)]
    sides = zip(plane, options["stride"], reach, options["padding"], strict=True)
    source = (1, *((side - 1) * step + far - 2 * pad for side, step, far, pad in sides))
    weight = np.full((channels, 1, *kernel), 0.1) if weight is None else weight
    cells = LIF((channels, *plane), np.array(0.9), np.array(1.0), Reset.ZERO_NEXT_STEP, alpha and np.array(alpha))
    nodes: dict[str, Node] = {
        "input": Input(source, InputKind.SPIKES),
        "conv": Conv(weight, source, bias=None, **options),
        "lif": cells,
    }
    edges = [Edge(source, target) for source, target in pairwise(nodes)]
    if recurrent:
        nodes["back"] = Conv(np.full((1, 1, 3, 3), 0.01), cells.shape, (1, 1), (1, 1), (1, 1), 1, None)
        edges += [Edge("lif", "back", 1), Edge("back", "lif")]
    return Network(nodes, tuple(edges), "input", "lif", encoding=ENCODING)


LARGE = np.full((1, 1, 1, 3), 0.1) + np.array([0.0, 0.0, 1.0])
EXACT = {
    "a square kernel": convolution(),
    "a row": convolution((1, 5)),
    "padded": convolution(padding=(1, 1)),
    "several cores": convolution(plane=(24, 24)),
    "two channels that fill theirs": convolution(channels=2),
    "reads itself": convolution(recurrent=True),
    "a weight of 16 bits": convolution((1, 3), weight=LARGE),
}
OTHERWISE = {
    "no synaptic current": (convolution(alpha=None), "no synaptic current"),
    "strides": (convolution(stride=(2, 2)), "strides"),
    "a stride of one side": (convolution((1, 1), stride=(1, 2)), "strides"),
    "even height": (convolution((2, 3)), "even height or width"),
    "dilation": (convolution(dilation=(2, 1)), "dilation"),
    "rows longer than a core": (convolution((1, 3), plane=(1, 300)), "longer than the 256 cells"),
    "kernels larger than a core": (convolution((91, 91), plane=(3, 3)), "more than 16,384 bytes"),
    "channels that leave cores empty": (convolution(channels=12, plane=(24, 24)), "in planes it takes 9 cores more"),
}


@pytest.mark.parametrize("network", EXACT.values(), ids=EXACT)
def test_what_kernels_do_exactly_is_left_to_them(network: Network) -> None:
    layout = layout_of(pipeline.compile(network, "spinnaker1").program)
    assert set(layout.listed.values()) == {None}
    assert set(layout.planes) == {"input", "lif"}


@pytest.mark.parametrize(("network", "why"), OTHERWISE.values(), ids=OTHERWISE)
def test_what_they_would_change_is_listed_and_said_why(network: Network, why: str) -> None:
    model = pipeline.compile(network, "spinnaker1")
    assert layout_of(model.program).planes == {}
    (said,) = model.placement.kernels.values()
    assert why in str(said)
    samples = pipeline.Samples("random", spikes(network, 1), None)
    assert f"# a convolution, connection by connection: {said}" in pipeline.emit(model, samples).text


def test_beside_kernels_nothing_else_may_come() -> None:
    """With dense recurrence in place of the convolutional one, the convolution is listed too."""
    program = pipeline.compile(convolution(recurrent=True), "spinnaker1").program
    forward, back = program.projections
    dense = replace(back, synapses=DenseSynapses(np.zeros((256, 256), np.int32)))
    layout = layout_of(replace(program, projections=(forward, dense)))
    assert layout.planes == {}
    assert "nothing else may reach" in str(layout.listed["conv"])


@pytest.mark.parametrize("height", [1, 7, 16, 20, 24, 97, 128])
def test_planes_are_cut_into_equal_bands_of_whole_rows(height: int) -> None:
    for width in (1, 9, 24, 128, 256):
        plane = Plane(3, height, width)
        assert height % plane.rows_per_core == 0
        assert plane.rows_per_core * width <= CELLS_PER_CORE
        assert plane.cores == 3 * height // plane.rows_per_core


def test_a_core_has_as_many_cells_as_the_profile_says() -> None:
    assert load_profile("spinnaker1").value("limits.core.neurons") == CELLS_PER_CORE


def test_the_plan_says_it_and_keeps_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the artefact, as values, and in print; kernels fetch no rows."""
    network = planar()
    model = pipeline.compile(network, "spinnaker1")
    save_artifact(model, tmp_path / "model.ndc")
    loaded = load_artifact(tmp_path / "model.ndc")
    assert loaded.placement.kernels == {"conv0": None, "conv1": None, "conv2": None}
    display.show_compiled(Console(width=200), summary.of_model(loaded) | {"artifact": "model.ndc"})
    assert "kernels   conv0, conv1, conv2: ConvolutionConnectors between planes" in capsys.readouterr().out
    samples = pipeline.Samples("random", spikes(network, 1), None)
    counted = pipeline.evaluate(model, samples, pipeline.run(model, samples)).activity
    assert [layer.rows > 0 for layer in counted.layers] == [False, False, False, True]
