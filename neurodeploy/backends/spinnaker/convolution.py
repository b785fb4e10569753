"""Which convolutions sPyNNaker gets as its ConvolutionConnector, and where their cells lie; the others are listed.

A ConvolutionConnector joins two planes, so each channel becomes a population of its own. Its kernel lies in the memory
of the core, and no row of synapses is fetched. What it computes was seen by running the firmware that sPyNNaker 7.4.1
brings, spike by spike (`tests/conformance/test_spinnaker_firmware.py`): with odd kernels and a stride of one, PyTorch's
convolution with the kernel turned by 180 degrees, one step later. With other strides, and with even kernels, it is
something else. Whatever stands in `obstacle` is therefore listed connection by connection, and so is a convolution that
would need more cores in planes than in a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from neurodeploy.ir.program import ConvSynapses, Population, Program, Projection

CELLS_PER_CORE = 256
"""sPyNNaker's own limit; the profile has it as limits.core.neurons."""
KERNEL_MAX = (1 << 15) - 1
"""Weights of a kernel have a sign and 15 bits; sPyNNaker wraps larger ones without a word, so they come in `halves`."""
CONFIG_BYTES, SOURCE_BYTES, CONNECTOR_BYTES, WEIGHT_BYTES, WORD_BYTES = 28, 40, 36, 2, 4
"""What sPyNNaker writes for a core: once, and for each source, connector and weight, rounded up to a word."""
LOCAL_BYTES_MAX = 16384
"""Assumed: a quarter of a core's 65,536 bytes of data, most of which its cells need."""


@dataclass(frozen=True)
class Plane:
    """The shape of each channel of a population or of the input, whose channels are populations of their own."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        return self.height * self.width

    @property
    def rows_per_core(self) -> int:
        """Return how many whole rows lie on a core; sPyNNaker wants all its cores filled alike."""
        fits = max(1, CELLS_PER_CORE // self.width)
        return max(rows for rows in range(1, self.height + 1) if rows <= fits and self.height % rows == 0)

    @property
    def cores(self) -> int:
        return self.channels * self.height // self.rows_per_core


@dataclass(frozen=True)
class Layout:
    """What becomes of every convolution.

    Args:
        planes: population, or input -> the plane of its channels; only those that a ConvolutionConnector joins.
        listed: convolution -> why it is listed connection by connection, None where it is a ConvolutionConnector.
    """

    planes: dict[str, Plane]
    listed: dict[str, str | None]

    def joins(self, program: Program, name: str) -> bool:
        """Return whether ConvolutionConnectors, and nothing else, reach population `name`."""
        return any(self.listed.get(edge.name, "") is None for edge in program.incoming(name))

    def parts(self, name: str, size: int) -> list[tuple[int, int]]:
        """Return the first cell and the number of cells of each population that `name` becomes."""
        plane = self.planes.get(name)
        return [(0, size)] if plane is None else [(c * plane.size, plane.size) for c in range(plane.channels)]


def layout_of(program: Program) -> Layout:
    """Return which convolutions become ConvolutionConnectors: those that can, unless it takes more cores."""
    planes: dict[str, Plane] = {}
    listed: dict[str, str | None] = {}
    for population in program.populations:
        edges = [edge for edge in program.incoming(population.name) if isinstance(edge.synapses, ConvSynapses)]
        why = obstacle(program, population) if edges else None
        if edges and why is None:
            wanted = _with_planes(planes, edges)
            more = _cores(program, wanted) - _cores(program, planes)
            if any(wanted[name] != plane for name, plane in _with_planes({}, edges[::-1]).items()):
                why = "what it reads is read in another shape too"
            elif more > 0:
                why = f"a ConvolutionConnector joins single planes, and in planes it takes {more:,} cores more"
            else:
                planes = wanted
        listed |= {edge.name: why for edge in edges}
    return Layout(planes, listed)


def obstacle(program: Program, population: Population) -> str | None:
    """Say why ConvolutionConnectors cannot do exactly what reaches `population`, or None."""
    edges = program.incoming(population.name)
    convolutions = [edge.synapses for edge in edges if isinstance(edge.synapses, ConvSynapses)]
    sizes = {size for conv in convolutions for size in conv.mantissa.shape[2:]}
    if population.cell.alpha is None:
        return "the firmware of ConvolutionConnectors is IF_curr_exp's alone, and these cells have no synaptic current"
    if len(convolutions) < len(edges):
        return "beside a ConvolutionConnector nothing else may reach a population"
    if any(max(conv.dilation) > 1 for conv in convolutions):
        return "a ConvolutionConnector has no dilation"
    if any(max(conv.stride) > 1 for conv in convolutions):
        return "the firmware of sPyNNaker 7.4.1 applies strides to where a kernel begins, not to where it reaches"
    if any(size % 2 == 0 for size in sizes):
        return "the firmware of sPyNNaker 7.4.1 reads past kernels of even height or width"
    if any(max(conv.input_shape[2], conv.output_shape[2]) > CELLS_PER_CORE for conv in convolutions):
        return f"a row is longer than the {CELLS_PER_CORE} cells of a core"
    if max(local_bytes(program, population)) > LOCAL_BYTES_MAX:
        return f"its kernels need more than {LOCAL_BYTES_MAX:,} bytes of a core"
    return None


def local_bytes(program: Program, population: Population) -> list[int]:
    """Return, for each channel of `population`, the bytes of its kernels and of what goes with them."""
    edges = program.incoming(population.name)
    convolutions = [(edge.source, conv) for edge in edges if isinstance(conv := edge.synapses, ConvSynapses)]
    kernels = [
        (conv.mantissa.shape[1], conv.mantissa.shape[2:], len(halves(conv.mantissa))) for _, conv in convolutions
    ]
    (channels, *plane), bias = convolutions[0][1].output_shape, population.cell.bias
    biased = bool(np.any(bias))
    if biased:
        kernels.append((1, tuple(size + 1 - size % 2 for size in plane), len(halves(bias))))
    weights = sum(inputs * prod(shape) * parts for inputs, shape, parts in kernels)
    fixed = CONFIG_BYTES + sum(inputs * parts for inputs, _, parts in kernels) * CONNECTOR_BYTES
    fixed += ceil(weights * WEIGHT_BYTES / WORD_BYTES) * WORD_BYTES
    sources = (
        {(source, read) for source, conv in convolutions for read in channels_read(conv, channel)}
        for channel in range(channels)
    )
    return [fixed + (len(read) + biased) * SOURCE_BYTES for read in sources]


def halves(mantissa: np.ndarray) -> list[np.ndarray]:
    """Return mantissas of at most `KERNEL_MAX` that sum up to `mantissa`: itself, or two where one is larger."""
    first = np.clip(mantissa, -KERNEL_MAX, KERNEL_MAX)
    return [first] if np.array_equal(first, mantissa) else [first, mantissa - first]


def channels_read(conv: ConvSynapses, channel: int) -> range:
    """Return the input channels that an output channel reads, those of its group."""
    per_group = conv.mantissa.shape[1]
    first = channel // (conv.output_shape[0] // conv.groups) * per_group
    return range(first, first + per_group)


def bias_source(plane: Plane) -> Plane:
    """Return the plane of the source whose first cell, firing in every step, gives a plane of cells their biases.

    Its kernel is the plane of the biases themselves, with a row or column of zeros before an even number of them, and
    padded by one less than the plane; a source of one cell or two on a side makes the sizes meet.
    """
    return Plane(1, 2 - plane.height % 2, 2 - plane.width % 2)


def _with_planes(planes: dict[str, Plane], edges: list[Projection]) -> dict[str, Plane]:
    """Return `planes` with those that `edges` join; what has a plane keeps it."""
    found = dict(planes)
    for edge in edges:
        assert isinstance(edge.synapses, ConvSynapses)
        for name, shape in ((edge.source, edge.synapses.input_shape), (edge.target, edge.synapses.output_shape)):
            found.setdefault(name, Plane(*shape))
    return found


def _cores(program: Program, planes: dict[str, Plane]) -> int:
    """Return the cores of the input and of all populations; the input's lie on one, or on one for each channel."""
    cores = planes[program.input.name].channels if program.input.name in planes else 1
    for population in program.populations:
        plane = planes.get(population.name)
        cores += ceil(population.size / CELLS_PER_CORE) if plane is None else plane.cores
    return cores
