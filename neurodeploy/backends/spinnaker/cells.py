"""Which PyNN cell of which simulator computes which population exactly, and with which parameters.

One simulated millisecond is one step, and a population's equation (`ir.program.Cell`) is met by

    tau_m = -1 / ln(beta)      tau_syn = -1 / ln(alpha)      v_rest = v_reset = 0
    cm    = (alpha - beta) / ln(alpha / beta)                alpha if beta = alpha: 1 nA moves the membrane by 1 mV

in ms, mV and nF. A membrane that merely reaches its threshold must not fire. NEST fires at v >= v_thresh and is given
the next larger number; where its gain from current to membrane is 1 to within a few units of the last place only, a
little more. Brian2 computes in volts and amperes, so 1 mV of a program is 2^-10 V and 2^-30 A there: powers of two, so
that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import exp, inf

import numpy as np

from neurodeploy.errors import Finding
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.program import S1615, U032, Cell, Program

STEP_MS = 1.0
FORGETFUL_MS = 0.01
"""The time constant of a decay of 0: exp(-100) of a state is less than its last bit."""
NEIGHBORS = 6
"""Floats on either side of a time constant that are tried."""
MARGIN = 2.0**-47
"""By how much of itself NEST's threshold over a synaptic current is raised: what its gain may be off from 1."""
BRIAN2_MV, BRIAN2_VOLT = 125 / 128, 2.0**-10
BRIAN2_NA, BRIAN2_AMPERE = 5.0**9 / 2.0**21, 2.0**-30
"""What 1 mV of a program is in Brian2, on a membrane and as a current, in PyNN's units and in its own."""

Parameters = dict[str, float | np.ndarray]


@dataclass(frozen=True)
class Model:
    """A cell of one simulator.

    Args:
        name: of the PyNN class.
        parameters: of a population's constants, in PyNN's units; native ones where `origin` is "native".
        latency_steps: from a spike over a synapse of the shortest delay to the spike that it causes.
        origin: "pynn" for a standard cell, "native" for a simulator's own, "ours" for one in `brian2_cells`.
        native_weight: of 1 mV, as the simulator stores it.
        shows_spike: whether the recorded membrane still is above the threshold in the step of a spike.
    """

    name: str
    parameters: Callable[[Cell], Parameters]
    latency_steps: int = 1
    origin: str = "pynn"
    native_weight: float = 1.0
    shows_spike: bool = False


def decay_time(decay: np.ndarray) -> np.ndarray:
    """Return in ms the time constant of a state that keeps `decay` of itself in a step, in [0, 1)."""
    return -STEP_MS / np.log(np.maximum(decay, exp(-STEP_MS / FORGETFUL_MS)))


def brian2_decay_time(decay: np.ndarray) -> np.ndarray:
    """Return the same, tuned: of neighboring floats the one with which Brian2, dividing seconds, keeps `decay` best."""
    guess = decay_time(decay)
    candidates = [guess]
    for direction in (0.0, inf):
        near = guess
        for _ in range(NEIGHBORS):
            near = np.nextafter(near, direction)
            candidates.append(near)
    tried = np.stack(candidates)
    kept = np.exp(-(STEP_MS * 1e-3) / (tried * 1e-3))
    return np.take_along_axis(tried, np.abs(kept - decay).argmin(0)[None], 0)[0]


def capacitance(beta: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return in nF what makes 1 nA move the membrane by 1 mV in the step that it reaches it: the logarithmic mean."""
    least = exp(-STEP_MS / FORGETFUL_MS)
    beta, alpha = np.maximum(beta, least), np.maximum(alpha, least)
    difference = (alpha - beta) / beta
    ratio = np.where(difference < -0.5, np.log(alpha / beta), np.log1p(np.maximum(difference, -0.5)))
    return beta * np.where(ratio == 0, 1.0, difference / np.where(ratio == 0, 1.0, ratio))


def _values(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return beta, alpha and theta (mV) as real numbers."""
    alpha = np.zeros(()) if cell.alpha is None else cell.alpha / U032
    return cell.beta / S1615, alpha, cell.theta / S1615


def _on_nest(refractory_steps: int) -> Callable[[Cell], Parameters]:
    def parameters(cell: Cell) -> Parameters:
        beta, _, theta = _values(cell)
        return {
            "tau_m": decay_time(beta),
            "v_rest": 0.0,
            "v_reset": 0.0,
            "v_thresh": np.nextafter(theta, inf),
            "tau_refrac": refractory_steps * STEP_MS,
        }

    return parameters


def _on_nest_with_current(refractory_steps: int) -> Callable[[Cell], Parameters]:
    def parameters(cell: Cell) -> Parameters:
        beta, alpha, theta = _values(cell)
        tau = decay_time(alpha)
        cells = {"tau_syn_E": tau, "tau_syn_I": tau, "cm": capacitance(beta, alpha)}
        return {**_on_nest(refractory_steps)(cell), **cells, "v_thresh": theta * (1 + MARGIN)}

    return parameters


def _eprop(cell: Cell) -> Parameters:
    """NEST's neuron for e-prop subtracts its threshold in the step after a spike; nothing learns here."""
    beta, _, theta = _values(cell)
    return {
        "tau_m": decay_time(beta),
        "C_m": 1.0,
        "E_L": 0.0,
        "V_th": np.nextafter(theta, inf),
        "t_ref": 0.0,
    }


def _on_brian2(refractory_steps: int = 0) -> Callable[[Cell], Parameters]:
    def parameters(cell: Cell) -> Parameters:
        beta, _, theta = _values(cell)
        return {
            "tau_m": brian2_decay_time(beta),
            "v_rest": 0.0,
            "v_reset": 0.0,
            "v_thresh": theta * BRIAN2_MV,
            "tau_refrac": refractory_steps * STEP_MS,
        }

    return parameters


def _subtracting(parameters: Callable[[Cell], Parameters]) -> Callable[[Cell], Parameters]:
    """Let v_reset say what a spike subtracts."""
    return lambda cell: (leaky := parameters(cell)) | {"v_reset": leaky["v_thresh"]}


def _with_current(parameters: Callable[[Cell], Parameters]) -> Callable[[Cell], Parameters]:
    def extended(cell: Cell) -> Parameters:
        beta, alpha, _ = _values(cell)
        tau = decay_time(alpha)
        cm = BRIAN2_NA / BRIAN2_MV * capacitance(beta, alpha)
        return {**parameters(cell), "tau_syn_E": tau, "tau_syn_I": tau, "cm": cm}

    return extended


NO_CURRENT, CURRENT = False, True
NEST = {
    (NO_CURRENT, Reset.ZERO): Model("IF_curr_delta", _on_nest(0)),
    (NO_CURRENT, Reset.ZERO_NEXT_STEP): Model("IF_curr_delta", _on_nest(1)),
    (NO_CURRENT, Reset.SUBTRACT_NEXT_STEP): Model("eprop_iaf_bsshslm_2020", _eprop, origin="native", shows_spike=True),
    (CURRENT, Reset.ZERO): Model("IF_curr_exp", _on_nest_with_current(0), 2, native_weight=1e3),
    (CURRENT, Reset.ZERO_NEXT_STEP): Model("IF_curr_exp", _on_nest_with_current(1), 2, native_weight=1e3),
}
"""In NEST what arrives reaches a synaptic current at the end of a step and the membrane in the next."""


def _brian2(
    name: str, parameters: Callable[[Cell], Parameters], current: bool, origin: str = "ours", shows_spike: bool = False
) -> Model:
    return Model(name, parameters, 1, origin, BRIAN2_AMPERE if current else BRIAN2_VOLT, shows_spike)


_SUBTRACTING = _subtracting(_on_brian2())
BRIAN2 = {
    (NO_CURRENT, Reset.ZERO): _brian2("IF_curr_delta", _on_brian2(), NO_CURRENT, "pynn"),
    (NO_CURRENT, Reset.ZERO_NEXT_STEP): _brian2("IF_curr_delta", _on_brian2(2), NO_CURRENT, "pynn"),
    (NO_CURRENT, Reset.SUBTRACT_NEXT_STEP): _brian2("SubtractingDelta", _SUBTRACTING, NO_CURRENT, shows_spike=True),
    (CURRENT, Reset.ZERO): _brian2("ResettingExp", _with_current(_on_brian2()), CURRENT),
    (CURRENT, Reset.ZERO_NEXT_STEP): _brian2(
        "ResettingNextStepExp", _with_current(_on_brian2()), CURRENT, shows_spike=True
    ),
    (CURRENT, Reset.SUBTRACT_NEXT_STEP): _brian2(
        "SubtractingExp", _with_current(_SUBTRACTING), CURRENT, shows_spike=True
    ),
}
"""Brian2 sets a cell refractory in the step of its spike already: one step more is two of its own."""
MODELS: Mapping[str, Mapping[tuple[bool, Reset], Model]] = {"nest": NEST, "brian2": BRIAN2}
"""Simulator -> (with a synaptic current, reset) -> cell; the machine's own would be one more simulator here."""


def model_of(cell: Cell, simulator: str) -> Model:
    """Return the simulator's cell for a population that `inexpressible` does not name."""
    return MODELS[simulator][kind_of(cell)]


def kind_of(cell: Cell) -> tuple[bool, Reset]:
    return cell.alpha is not None, cell.reset


@dataclass(frozen=True)
class Timing:
    """When things happen in a simulator, in its steps.

    Args:
        steps: of the input and every population, from an input step to the answer to it.
        delays: of every projection, from 1.
        bias_steps: when a population's source of bias fires for its own step 0; its synapses have the shortest delay.
    """

    steps: dict[str, int]
    delays: dict[str, int]
    bias_steps: dict[str, int]


def timing_of(program: Program, simulator: str) -> Timing:
    """Return when populations answer; synapses wait where paths through different cells take differently long."""
    steps, delays, bias_steps = {program.input.name: 0}, {}, {}
    for population in program.populations:
        latency = model_of(population.cell, simulator).latency_steps
        sources = [edge.source for edge in program.incoming(population.name) if not edge.recurrent]
        steps[population.name] = max((steps[name] for name in sources), default=0) + latency
        bias_steps[population.name] = steps[population.name] - latency
    for edge in program.projections:
        delays[edge.name] = 1 + edge.recurrent + bias_steps[edge.target] - steps[edge.source]
    return Timing(steps, delays, bias_steps)


def inexpressible(program: Program, simulator: str) -> Iterator[Finding]:
    """Say which populations the simulator has no exact cell for, and which projections would arrive too late."""
    lacking = [population for population in program.populations if kind_of(population.cell) not in MODELS[simulator]]
    for population in lacking:
        kind = kind_of(population.cell)
        having = [name for name, models in MODELS.items() if kind in models]
        current = "with" if kind[0] else "without"
        yield Finding(
            "ND331",
            population.name,
            f"reset {kind[1].value}, {current} a synaptic current",
            f"{simulator} has no cell that computes it exactly",
            f"run it on {' or '.join(having) or 'the engine'}",
        )
    if lacking:
        return
    for name, delay in timing_of(program, simulator).delays.items():
        if delay < 1:
            yield Finding(
                "ND332",
                name,
                "a loop through cells with a synaptic current",
                f"in {simulator} a spike reaches such a membrane after two steps, and the loop must take one",
                "run it on brian2 or the engine",
            )
