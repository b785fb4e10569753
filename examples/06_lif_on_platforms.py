"""One neuron, eleven recordings of it: which platforms agree, and why the others do not.

    python examples/06_lif_on_platforms.py [--figure membranes.png]

Takes a few seconds. The NIR paper (doi 10.1038/s41467-024-52259-9) ran one LIF neuron on one input: on nine simulators,
on a real Loihi 2, and as the exact solution of its equation. NIR says what the neuron is, not how it is stepped, and
each platform steps it in its own way. Here each way is said in a few settings. Under them the reader of NIR graphs, or
the engine of Loihi's integers, replays the recording; then every setting is taken back once, to see what it was for.

The recordings are in paper/01_lif of github.com/neuromorphs/NIR. NEURODEPLOY_CASES names the folder that has them as
nir_paper/01_lif.
"""

import argparse
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import neurodeploy
from neurodeploy.engine.real import run_real
from neurodeploy.engine.reference import run_reference
from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import DenseSynapses, InputPort, Neuron, Population, Program, Projection

CASES = Path(os.environ.get("NEURODEPLOY_CASES") or Path(__file__).parents[2] / "shared" / "cases")
PAPER = CASES / "nir_paper" / "01_lif"
DT, TAU, THRESHOLD = 1e-4, 2.5e-3, 0.1
GAIN = DT / TAU  # by how much an Euler step lifts the membrane per spike
WEIGHT = 10  # of the synapse on Loihi, in its integers


@dataclass(frozen=True)
class Way:
    """How a platform steps the neuron and writes it down; the defaults are NIR's own text in Euler steps."""

    discretization: str = "euler"
    gain: str = "equation"
    reset: str = "zero"
    crossing: str = "at a step"
    numbers: str = "real"
    weight: float = 1.0  # what the synapse's weight became
    late: int = 0  # steps that all of it comes after the input
    spikes_late: int = 0  # steps that spikes come after the membrane
    at_spikes: int = 0  # what stands for the membrane where it spikes
    unit: float = 1.0  # what is recorded for a membrane of 1

    def settings(self) -> dict:
        """Name the fields that are not as in NIR's own text; how the membrane is scaled is no difference."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "unit"}
        return {name: value for name, value in own.items() if value != getattr(Way(), name)}


EULER, LATE = Way(), Way(late=1)
SUBTRACTING = Way(discretization="exponential", gain="unit", reset="subtract")
LOIHI = replace(LATE, numbers="integer", unit=WEIGHT / GAIN * 64)
WAYS = {
    "exact": Way(discretization="exponential", reset="subtract", crossing="between steps"),
    "norse": EULER,
    "snntorch": replace(EULER, unit=1 / GAIN),
    "spinnaker2": replace(EULER, weight=102 / 102.02, unit=1 / GAIN),
    "nengo": Way(discretization="exponential", unit=1 / THRESHOLD),
    "sinabs": SUBTRACTING,
    "rockpool": SUBTRACTING,
    "spyx": Way(reset="subtract_next_step", spikes_late=1),
    "lava_cpu_float": LATE,
    "lava_cpu_fixed": LOIHI,
    "lava_loihi_fixed": replace(LOIHI, at_spikes=128),
}
CHIP = "lava_loihi_fixed"
SINGLE_PRECISION = 1e-6
WHY = {
    "discretization": "a step keeps exp(-dt/tau) of the membrane, not 1 - dt/tau",
    "gain": "a spike adds dt/tau = 0.04 all the same, not 1 - exp(-dt/tau) = 0.039",
    "reset": "a spike subtracts the threshold, and leaves what is above",
    "crossing": "v is reset where it crosses the threshold, between steps",
    "numbers": "24-bit integers: a decay of 163/4096 and every product rounded towards zero",
    "weight": "weights are scaled by 102.02 and made integers: 102",
    "late": "the synapse takes a step",
    "spikes_late": "a spike is sent in the step after v rose above the threshold",
    "at_spikes": "the chip shows a marker, 128, where v was reset",
}


def recorded(platform: str) -> np.ndarray:
    """Return what came in (0 or 1), membrane and spikes (0 or 1) of every step (3, step), units as recorded."""
    rows = np.loadtxt(PAPER / f"lif_{platform}.csv", delimiter=",").T
    return np.stack([rows[0] > 0, rows[1], rows[2] > 0])


def replayed(way: Way, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return membrane and spikes (step,) as a platform of this way would record them."""
    if way.numbers == "integer":
        v, spikes = in_integers(inputs)
    else:
        v, spikes = in_real_numbers(way, inputs)
        v = way.unit * (v + (reset_earlier(v, spikes, inputs) if way.crossing == "between steps" else 0))
    if way.at_spikes:
        v = np.where(spikes > 0, way.at_spikes, v)
    return late(v, way.late), late(spikes, way.late + way.spikes_late)


def late(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.zeros(steps), values])[: len(values)]


def in_real_numbers(way: Way, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return membrane and spikes as the reader of NIR graphs has them; a gain of 1 takes its 0.04 from the weight."""
    semantics = {name: getattr(way, name) for name in ("discretization", "gain", "reset")}
    network = neurodeploy.load(PAPER / "lif_norse.nir", dt=DT, semantics=semantics)
    weight = way.weight * (GAIN if way.gain == "unit" else 1)
    result, _ = run_real(network, (weight * inputs).reshape(-1, 1, 1))
    return result.voltages[network.output].ravel(), result.spikes[network.output].ravel()


def in_integers(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return membrane and spikes as the engine of Loihi's integers has them, with the registers that were deployed."""
    decay, threshold = int(4096 * GAIN), round(THRESHOLD / GAIN * WEIGHT)
    registers = Neuron(np.array(4096), np.array(decay), np.array(threshold), np.zeros(1, np.int32), 0, Reset.ZERO)
    program = Program(
        InputPort("input", (1,), InputKind.SPIKES),
        (Population("lif", (1,), registers, 1, WEIGHT / GAIN),),
        (Projection("synapse", "input", "lif", DenseSynapses(np.array([[WEIGHT // 2]], np.int8))),),
        "lif",
    )
    result = run_reference(program, inputs.astype(np.int64).reshape(-1, 1, 1))
    return result.voltages["lif"].ravel(), result.spikes["lif"].ravel()


def reset_earlier(v: np.ndarray, spikes: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Return what a membrane gains (step,) where the threshold is subtracted as it is crossed, and decays since."""
    gained, now = np.zeros(len(v)), 0.0
    for step in range(1, len(v)):
        before, towards = v[step - 1] + now, inputs[step]
        now *= np.exp(-GAIN)
        if spikes[step]:
            since = GAIN - np.log((before - towards) / (THRESHOLD - towards))
            now += THRESHOLD * (1 - np.exp(-since))
        gained[step] = now
    return gained


# What there is to say of it


def apart(way: Way, platform: str) -> tuple[int | None, float]:
    """Return the first step in which a replay spikes otherwise than recorded, and how far its membrane is off at most.

    The latter in units of the threshold.
    """
    inputs, membrane, spikes = recorded(platform)
    v, s = replayed(way, inputs)
    return first(s, spikes), float(np.abs(v - membrane).max()) / way.unit / THRESHOLD


def first(spikes: np.ndarray, others: np.ndarray) -> int | None:
    differ = np.flatnonzero(spikes != others)
    return int(differ[0]) if len(differ) else None


def between(one: str, other: str) -> tuple[int | None, float]:
    """Return the first step in which two recordings differ in spikes, and the largest difference of their membranes.

    Spikes as recorded; membranes in units of the threshold, each in its own unit and without its delay.
    """
    membranes = []
    for platform in (one, other):
        way = WAYS[platform]
        membranes.append(recorded(platform)[1][way.late :] / way.unit / THRESHOLD)
    steps = min(map(len, membranes))
    largest = float(np.abs(membranes[0][:steps] - membranes[1][:steps]).max())
    return first(recorded(one)[2], recorded(other)[2]), largest


def replays() -> Table:
    """Every recording under its settings, and with each of them taken back."""
    table = Table(title="Each recording replayed, and with each of its settings taken back", title_justify="left")
    for column in ("platform", "settings", "spikes", "v off by", "why"):
        table.add_column(column, no_wrap=column != "why", justify="right" if column == "v off by" else "left")
    for platform, way in WAYS.items():
        table.add_row(platform, "its own" if way.settings() else "NIR's text", *said(*apart(way, platform)))
        for name, value in way.settings().items():
            plain = getattr(Way(), name)
            value = f"{value:.6f}" if name == "weight" else value
            row = said(*apart(replace(way, **{name: plain}), platform))
            table.add_row("", f"{name} {plain}, not {value}".replace("_", " "), *row, WHY[name])
        table.add_section()
    return table


def said(step: int | None, membrane: float) -> tuple[str, str]:
    return "equal" if step is None else f"differ at {step}", "0" if membrane == 0 else f"{membrane:.2g} θ"


def agreement() -> Table:
    """Above the diagonal the first step in which spikes differ, below it how far membranes are apart."""
    title = "Who equals whom: first step whose spikes differ (above), largest difference of v in θ (below)"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for platform in WAYS:
        table.add_column(platform.removeprefix("lava_").replace("_", "\n"), justify="right")
    for row, one in enumerate(WAYS):
        cells = []
        for column, other in enumerate(WAYS):
            step, membrane = between(one, other)
            above = "=" if step is None else str(step)
            below = "=" if membrane < SINGLE_PRECISION else f"{membrane:.2g}"
            cells.append("" if row == column else above if row < column else below)
        table.add_row(one, *cells)
    return table


def draw(path: Path) -> None:
    """Draw every recorded membrane over time, in units of its threshold, spikes as ticks above."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    axes = figure.add_subplot()
    for row, (platform, way) in enumerate(WAYS.items()):
        _, membrane, spikes = recorded(platform)
        base = -1.4 * row
        (line,) = axes.plot(base + membrane / way.unit / THRESHOLD, linewidth=1)
        axes.vlines(np.flatnonzero(spikes), base + 1.05, base + 1.3, color=line.get_color())
        axes.axhline(base + 1, color="0.8", linewidth=0.5, zorder=0)
    axes.set_yticks([-1.4 * row for row in range(len(WAYS))], list(WAYS))
    axes.set_xlabel("step of 0.1 ms")
    axes.set_title("One LIF neuron as recorded; the gray line is its threshold, ticks are spikes", loc="left")
    axes.margins(x=0)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, help="draw the membranes there")
    figure = parser.parse_args().figure
    if not PAPER.is_dir():
        print(f"The recordings are not in {PAPER}: set NEURODEPLOY_CASES to the folder that has nir_paper/01_lif.")
        return
    console = Console(width=120)
    console.print(replays())
    console.print(agreement())
    replay, chip = replayed(WAYS[CHIP], recorded(CHIP)[0]), recorded(CHIP)[1:]
    print("Loihi 2, replayed in integers:", int(np.sum(np.stack(replay) != chip)), "of", chip.size, "values differ")
    if figure is not None:
        draw(figure)


if __name__ == "__main__":
    main()
