"""A compiled program as a PyNN script of its own: readable, commented, without neurodeploy, for SpiNNaker and for NEST.

Beside `net.py` lies `net.npz` with the samples, the weights and whatever differs from neuron to neuron. Every
projection is split into excitatory and inhibitory weights; weights rounded to zero are left out, since they move
nothing. Connections are listed by source: sPyNNaker 7.4.1 counts the longest row wrongly in any other order. What
`convolution` lets be a ConvolutionConnector is one on SpiNNaker; its connections are listed for NEST all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import numpy as np

from neurodeploy.backends.spinnaker import chip
from neurodeploy.backends.spinnaker.cells import MARGIN, capacitance
from neurodeploy.backends.spinnaker.connections import Connections, connections_of
from neurodeploy.backends.spinnaker.convolution import Layout, halves, layout_of
from neurodeploy.engine.chip import not_on_chip
from neurodeploy.errors import Finding, UnsupportedError, UsageError, raise_all
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import S1615, U032, Cell, ConvSynapses, Population, Program, Projection

SIMULATORS = ("spiNNaker", "nest")
TEMPLATE = Path(__file__).with_name("script.txt")
"""What every script has; `{{name}}` is replaced."""
WORDS = {Reset.ZERO: "zero in the step of a spike", Reset.ZERO_NEXT_STEP: "zero in the step after a spike"}


@dataclass(frozen=True)
class Script:
    """A script and the arrays that lie beside it."""

    text: str
    arrays: dict[str, np.ndarray]

    def write(self, path: Path) -> tuple[Path, Path]:
        """Write both files, each whole or not at all, the script last; return their paths.

        Raises:
            UsageError: ND407 when they cannot be written there.
        """
        data = path.with_suffix(".npz")
        parts = {target: target.with_name(f".{target.name}-{os.getpid()}") for target in (data, path)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for target in parts:
                if target.is_dir():
                    raise IsADirectoryError(f"{target} is a directory")
            with zipfile.ZipFile(parts[data], "w", zipfile.ZIP_DEFLATED) as archive:
                for name, array in self.arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
            parts[path].write_text(self.text, encoding="utf-8")
            for target, part in parts.items():
                os.replace(part, target)
        except OSError as error:
            raise UsageError(_unwritable(path, str(error))) from error
        finally:
            for part in parts.values():
                with contextlib.suppress(OSError):
                    part.unlink()
        return path, data


def script(program: Program, inputs: np.ndarray, title: str, name: str = "net") -> Script:
    """Return `program` as a script that presents one sample of `inputs` at a time.

    Args:
        inputs: uint8 spikes (step, sample, *input shape).
        title: what the program was compiled from.
        name: stem of the files, for its own description.

    Raises:
        UnsupportedError: ND330 for every population whose cell the chip does not have.
    """
    raise_all(UnsupportedError, list(not_on_chip(program)))
    latency = {simulator: latencies(program, simulator) for simulator in SIMULATORS}
    layout = layout_of(program)
    arrays: dict[str, np.ndarray] = {"input": inputs.reshape(*inputs.shape[:2], -1)}
    blocks = [_population(population, layout, arrays) for population in program.populations]
    blocks += [_projection(program, projection, layout, arrays) for projection in program.projections]
    biased = (population for population in program.populations if np.any(population.cell.bias))
    blocks += [_bias(program, population, layout, arrays) for population in biased]
    facts = {
        "title": _plain(title),
        "name": name,
        "steps": str(inputs.shape[0]),
        "latency": indent(_latencies(latency), "    ").strip(),
        "input": _text(program.input.name),
        "plane": _plane(layout, program.input.name, entire=True),
        "network": indent("\n".join(blocks), "    "),
        "output": _text(program.output),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for key, value in facts.items():
        text = text.replace("{{" + key + "}}", value)
    return Script(text, arrays)


def latencies(program: Program, simulator: str) -> dict[str, int] | None:
    """Return when each population answers step 0 of the input, in steps after it was sent; None where no time fits all.

    A projection takes one step, and two into NEST's IF_curr_exp, which adds a step's current in the next. A recurrent
    one is to take one less.
    """
    known = {program.input.name: 0}
    for population in program.populations:
        takes = _takes(population.cell, simulator)
        times = {known[edge.source] + takes for edge in program.incoming(population.name) if not edge.recurrent} or {
            takes
        }
        if len(times) > 1:
            return None
        known[population.name] = times.pop()
    for edge in program.projections:
        takes = _takes(program.population(edge.target).cell, simulator) - edge.recurrent
        if known[edge.source] + takes != known[edge.target]:
            return None
    return known


def _takes(cell: Cell, simulator: str) -> int:
    """Return how many steps a spike takes to move what it reaches."""
    return 2 if simulator == "nest" and cell.alpha is not None else 1


def _latencies(latency: dict[str, dict[str, int] | None]) -> str:
    return "\n".join(
        f"{_text(simulator)}: {json.dumps(times, ensure_ascii=False) if times else None},"
        for simulator, times in latency.items()
    )


def nest_parameters(cell: Cell) -> dict[str, np.ndarray]:
    """Return what PyNN tells NEST, which computes in float64 and fires at v >= v_thresh.

    Without a synaptic current it adds weights to the membrane; with one it is told what `cells` tells it.
    """
    theta = cell.theta / S1615
    told = chip.parameters(cell) | {"v_thresh": np.nextafter(theta, np.inf)}
    if cell.alpha is None:
        return told | {"cm": np.ones(())}
    beta, alpha = (np.maximum(decay, chip.DECAY_MIN) for decay in (cell.beta / S1615, cell.alpha / U032))
    return told | {"cm": capacitance(beta, alpha), "v_thresh": theta * (1 + MARGIN)}


# the parts of the text


def _population(population: Population, layout: Layout, arrays: dict[str, np.ndarray]) -> str:
    """Return a call with what both simulators are told, and then what each of them is told differently."""
    cell, name = population.cell, population.name
    model, _ = chip.CELLS[cell.alpha is not None, cell.reset]
    current = "without a synaptic current" if cell.alpha is None else "with a synaptic current"
    told = {"spiNNaker": chip.parameters(cell), "nest": nest_parameters(cell)}
    same = {key for key, value in told["nest"].items() if np.array_equal(value, told["spiNNaker"][key])}
    shares = {"both": {key: told["nest"][key] for key in sorted(same)}}
    shares |= {simulator: {k: v for k, v in values.items() if k not in same} for simulator, values in told.items()}
    lines = [f"# {_plain(name)}: {population.size:,} cells {current}, their membrane set to {WORDS[cell.reset]}"]
    lines += [
        f"net.cells({_text(name)}, {population.size}, {_text(model)}, {chip.expected_sums(cell)}{_plane(layout, name)},"
    ]
    for share, values in shares.items():
        said = ", ".join(f"{key}={_value(f'{name}/{share}/{key}', value, arrays)}" for key, value in values.items())
        lines.append(f"    {share}=dict({said}),")
    return "\n".join([*lines, ")"])


def _value(entry: str, value: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    """Return a parameter as a literal if all cells share it, as an entry of the arrays otherwise."""
    if value.ndim == 0 or np.unique(value).size == 1:
        return repr(float(value.reshape(-1)[0]))
    arrays[entry] = value
    return f"DATA[{_text(entry)}]"


def _text(name: str) -> str:
    """Return a name as a literal of Python, in double quotes."""
    return json.dumps(name, ensure_ascii=False)


def _projection(program: Program, projection: Projection, layout: Layout, arrays: dict[str, np.ndarray]) -> str:
    connections, synapses = connections_of(projection), projection.synapses
    cell = program.population(projection.target).cell
    late = ", read a step late" if projection.recurrent else ""
    lines = [f"# {_plain(projection.name)}: {connections.weights.size:,} synapses that are not zero{late}"]
    _keep(f"synapses/{projection.name}", connections, cell, arrays)
    said = ", ".join(map(_text, (projection.source, projection.target, projection.name)))
    if not isinstance(synapses, ConvSynapses):
        return "\n".join([*lines, f"net.connect({said})"])
    why = layout.listed[projection.name]
    if why is not None:
        return "\n".join([*lines, f"# a convolution, connection by connection: {why}", f"net.connect({said})"])
    lines.append("# a convolution, by kernels between planes: sPyNNaker's ConvolutionConnector does exactly this one")
    arrays[f"kernel/{projection.name}"] = _kernels(synapses.mantissa, cell)
    return "\n".join([*lines, f"net.convolve({said}, padding={tuple(synapses.padding)})"])


def _bias(program: Program, population: Population, layout: Layout, arrays: dict[str, np.ndarray]) -> str:
    name, cell = population.name, population.cell
    beside = next((edge.source for edge in program.incoming(name) if not edge.recurrent), program.input.name)
    mantissa = np.broadcast_to(cell.bias, (population.size,)).astype(np.int32)
    (post,) = np.nonzero(mantissa)
    connections = Connections(np.zeros(len(post), np.int32), post.astype(np.int32), mantissa[post])
    _keep(f"bias/{name}", connections, cell, arrays)
    said = f"# the bias of {_plain(name)}: a source that fires in every step"
    if not layout.joins(program, name):
        return f"{said}\nnet.bias({_text(name)}, beside={_text(beside)})"
    plane = layout.planes[name]
    arrays[f"bias/{name}/kernel"] = _kernels(mantissa.reshape(plane.channels, plane.height, plane.width), cell)
    return f"{said}\nnet.spread({_text(name)}, beside={_text(beside)})"


def _kernels(mantissa: np.ndarray, cell: Cell) -> np.ndarray:
    """Return kernels in mV, float32 (part, ...): one part, or two that are added up."""
    return np.stack([part * cell.steps(part) for part in halves(mantissa)]).astype(np.float32)


def _plane(layout: Layout, name: str, entire: bool = False) -> str:
    """Return the argument that makes each channel of `name` a plane, where kernels join it; on one core if `entire`."""
    plane = layout.planes.get(name)
    if plane is None:
        return ""
    return f", plane=({plane.height}, {plane.width}, {plane.height if entire else plane.rows_per_core})"


def _keep(entry: str, connections: Connections, cell: Cell, arrays: dict[str, np.ndarray]) -> None:
    """Keep connections in mV; weights are integers times powers of two, so that float32 holds them exactly."""
    arrays[f"{entry}/pre"], arrays[f"{entry}/post"] = connections.pre, connections.post
    arrays[f"{entry}/weight"] = (connections.weights * cell.steps(connections.weights)).astype(np.float32)


def _plain(text: str) -> str:
    """Return `text` as part of a comment or docstring: one line, no backslash and no quotes."""
    return " ".join(text.replace("\\", "/").replace('"', "'").split())


def _unwritable(path: Path, why: str) -> Finding:
    return Finding("ND407", str(path), "cannot be written", why, "choose another -o")
