"""Kernels on SpiNNaker do what is listed elsewhere: sPyNNaker's firmware, run on the data that sPyNNaker packed.

And where `convolution.obstacle` says that the firmware does something else, it does.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from math import ceil, floor, log2
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import pipeline
from neurodeploy.backends.spinnaker import convolution, emit
from neurodeploy.backends.spinnaker.connections import connections_of
from neurodeploy.backends.spinnaker.convolution import KERNEL_MAX
from neurodeploy.ir.program import Program
from tests.conformance.spinnaker_firmware import Core, planned
from tests.spinnaker_networks import planar, spikes

needs_spynnaker = pytest.mark.skipif(find_spec("spynnaker") is None, reason="sPyNNaker is not installed")
emulated = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("spynnaker", "unicorn")),
    reason="sPyNNaker, or the emulator of its processor, is not installed",
)
TIME = 7


def matrix(program: Program, source: str, target: str) -> np.ndarray:
    """Return the mantissas of all synapses between two populations, int64 (post, pre); a bias has one source."""
    population = program.population(target)
    if source.endswith(".bias"):
        bias = np.broadcast_to(population.cell.bias, (population.size,)).astype(np.int64)[:, None]
        return bias * (source == f"{target}.bias")
    edges = [edge for edge in program.incoming(target) if edge.source == source]
    shape = program.input.shape if source == program.input.name else program.population(source).shape
    found = np.zeros((population.size, int(np.prod(shape))), np.int64)
    for edge in edges:
        connections = connections_of(edge)
        np.add.at(found, (connections.post, connections.pre), connections.weights)
    return found


@emulated
def test_the_firmware_adds_up_the_programs_synapses(tmp_path: Path) -> None:
    """A spike of any source, biases included, adds its mantissas to the next step of each cell, and nothing else.

    That holds on all cores of planes that lie on several, and no packet is kept from a core that needs it. Of all
    sources every third is asked.
    """
    network, reached = planar(), 0
    program = pipeline.compile(network, "spinnaker1").program
    script, _ = emit(program, spikes(network, 1), "planes").write(tmp_path / "net.py")
    cores, keys = planned(script)
    channels = {"lif0": 2, "lif1": 2, "lif2": 1}
    planes = [(name, start) for name, count in channels.items() for start in range(0, count * 480, 240)]
    assert sorted((core.population, core.first) for core in cores) == planes
    for core in cores:
        machine, cells = Core(core.data, core.bits), slice(core.first, core.first + core.cells)
        for source in ("input", "lif0", "lif1", "lif0.bias", "lif1.bias"):
            expected = matrix(program, source, core.population)[cells]
            for pre in range(0, expected.shape[1], 3):
                if keys[source][pre] not in core.heard:
                    assert not expected[:, pre].any()
                    continue
                added = machine.receive(int(keys[source][pre]), TIME)[:, :, : core.cells].astype(int)
                later, now = added[(TIME + 1) % 2], added[TIME % 2]
                np.testing.assert_array_equal(later[0] - later[1], expected[:, pre])
                assert not now.any()
                reached += np.count_nonzero(expected[:, pre])
    assert reached > 10_000


def told(kernel: np.ndarray, source: tuple[int, int], target: tuple[int, int], stride: int, padding: int) -> bytes:
    """Return a core's data for one kernel between two planes (height, width), as sPyNNaker writes it."""

    def divisor(value: int) -> int:
        log = ceil(log2(value))
        return (max(log - 1, 0) << 24) + (min(log, 1) << 16) + floor(65536 * ((1 << log) - value) / value) + 1

    height, width = source
    header = struct.pack("<6h3I", 0, 0, target[0] - 1, target[1] - 1, *target, 1, 1, kernel.size)
    sizes = [(width << 16) + height] * 2 + [(1 << 16) + 1]
    here = struct.pack("<10I", 0x10000, 0xFFFF0000, 1 << 16, 0, *sizes, divisor(width), divisor(width), divisor(1))
    shorts = (*kernel.shape, padding, padding, 0, 1, 0, 1, 0, 0)
    connector = struct.pack("<10H4I", *shorts, divisor(stride), divisor(stride), divisor(1), divisor(1))
    return header + here + connector + kernel.astype("<i2").tobytes() + bytes(2 * kernel.size)


@emulated
@pytest.mark.parametrize(
    ("size", "stride", "padding", "turned", "same"),
    [
        ((3, 3), 1, 0, True, True),
        ((5, 3), 1, 1, True, True),
        ((3, 3), 1, 0, False, False),
        ((3, 3), 2, 0, True, False),
        ((1, 1), 2, 0, True, False),
        ((4, 4), 1, 0, True, False),
        ((2, 3), 1, 0, True, False),
    ],
)
def test_other_kernels_become_something_else(
    size: tuple[int, int], stride: int, padding: int, turned: bool, same: bool
) -> None:
    """Against torch: equal for odd kernels that are turned by 180 degrees, not for strides, even or unturned ones."""
    import torch

    rng = np.random.default_rng(0)
    kernel, source = rng.integers(-32767, 32768, size), (9, 8)
    pixels = torch.eye(72, dtype=torch.float64).reshape(72, 1, *source)
    weight = torch.tensor(kernel, dtype=torch.float64)[None, None]
    expected = torch.nn.functional.conv2d(pixels, weight, stride=stride, padding=padding)[:, 0].numpy().astype(int)
    kernel = kernel[::-1, ::-1] if turned else kernel
    core = Core(told(kernel, source, expected.shape[1:], stride, padding), (7, 1, 1))
    found = np.stack([core.receive(0x10000 + pre, TIME)[(TIME + 1) % 2].astype(int) for pre in range(72)])
    found = (found[:, 0] - found[:, 1])[:, : expected[0].size].reshape(expected.shape)
    assert np.array_equal(found, expected) == same


@needs_spynnaker
def test_cells_without_a_current_have_no_firmware_for_kernels() -> None:
    """sPyNNaker brings one for IF_curr_exp, and would look in vain for IF_curr_delta's when it loads the machine."""
    from spynnaker.pyNN import model_binaries

    kernels = {path.name for path in Path(str(model_binaries.__file__)).parent.glob("*_conv.aplx")}
    assert kernels == {"IF_curr_exp_conv.aplx"}


@needs_spynnaker
def test_sizes_are_those_of_sPyNNakers_own_structs() -> None:
    from spynnaker.pyNN.models.neural_projections.connectors import convolution_connector
    from spynnaker.pyNN.models.neuron.local_only import local_only_convolution

    assert convolution.CONFIG_BYTES == local_only_convolution.CONV_CONFIG_SIZE
    assert convolution.SOURCE_BYTES == local_only_convolution.SOURCE_INFO_SIZE
    assert convolution.CONNECTOR_BYTES == convolution_connector.CONNECTOR_CONFIG_SIZE


@needs_spynnaker
def test_sPyNNaker_wraps_weights_of_sixteen_bits() -> None:
    """The largest that a kernel may have arrives, the next is a negative number."""
    from types import SimpleNamespace

    from spynnaker.pyNN.models.neural_projections.connectors import ConvolutionConnector

    edge = SimpleNamespace(post_vertex=SimpleNamespace(get_synapse_id_by_target=["excitatory", "inhibitory"].index))
    connector = ConvolutionConnector(np.array([[KERNEL_MAX, KERNEL_MAX + 1.0]]))
    packed = connector.get_encoded_kernel_weights(edge, np.ones(2))
    assert packed.tolist() == [KERNEL_MAX, -KERNEL_MAX - 1]
