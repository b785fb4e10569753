"""A Lava program of your own, two of whose layers learn by e-prop while it runs: handwritten 3, 5 and 8 told apart.

    python examples/eprop_in_lava/learn_digits.py             Lava's learning engine, half a minute
    python examples/eprop_in_lava/learn_digits.py --fused     the two layers as one Process, faster

What is not imported from neurodeploy is stock Lava, floating point.
"""

import argparse
from collections.abc import Callable
from math import log

import numpy as np
from sklearn.datasets import load_digits

from neurodeploy.backends.loihi2.plasticity import engine_rule
from neurodeploy.backends.loihi2.processes import PlasticLIF, PlasticNetwork, PlasticReadout
from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.onchip import (
    EPROP,
    PlasticPopulation,
    PlasticProgram,
    RealFactor,
    RealNeuron,
    RealReadout,
    RealSynapses,
)

# isort: split
# Lava comes after neurodeploy, which lets lava-nc 0.10.0 be imported on Python 3.11 and later.
from lava.magma.core.process.ports.ports import OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense, LearningDense
from lava.proc.io import sink, source
from lava.proc.lif.process import LIF

CLASSES = (3, 5, 8)
STEPS, PAUSE = 12, 2  # of a sample, and until its last error has come back: one step per layer
PERIOD = STEPS + PAUSE
BETA = 0.9  # what is left of a membrane, and of a synapse's trace, after a step
READOUT = RealReadout(kappa=0.8, goal=4.0)  # the right output is to spike until its filtered spikes are 4

Weights = list[np.ndarray]


def factors(feedback: np.ndarray) -> tuple[RealFactor, RealFactor]:
    """Return how the hidden and the output neurons learn."""
    return RealFactor(feedback, rate=2e-3, regularizer=0.3, target_rate=0.1), RealFactor(None, rate=2e-3)


def engine(
    spikes: OutPort, answers: OutPort, weights: Weights, feedback: np.ndarray, learn: bool
) -> tuple[OutPort, Callable[[], Weights]]:
    """Wire both layers by hand; return the output's spikes, and how to read the weights (post, pre)."""
    (hidden, output), outputs = factors(feedback), len(weights[1])
    common = {"du": 1, "dv": 1 - BETA, "vth": 1.0, "period": PERIOD, "active_steps": STEPS}
    layer = PlasticLIF(shape=(len(weights[0]),), factor=hidden, first_step=2, **common)
    readout = PlasticReadout(shape=(outputs,), factor=output, readout=READOUT, first_step=3, **common)

    def connect(sender: OutPort, weight: np.ndarray, neurons: PlasticLIF) -> AbstractProcess:
        if learn:
            synapses = LearningDense(weights=weight, learning_rule=engine_rule(EPROP, tau=-1 / log(BETA)))
            neurons.s_out_y1.connect(synapses.s_in_y1)
            neurons.s_out_y2.connect(synapses.s_in_y2)
        else:
            synapses = Dense(weights=weight)
        sender.connect(synapses.s_in)
        synapses.a_out.connect(neurons.a_in)
        return synapses

    plastic = [connect(spikes, weights[0], layer), connect(layer.s_out, weights[1], readout)]
    back = Dense(weights=feedback, num_message_bits=8)  # errors are numbers, not spikes
    answers.connect(readout.t_in)
    readout.err_out.connect(back.s_in)
    back.a_out.connect(layer.a_third_factor_in)
    return readout.s_out, lambda: [synapses.weights.get() for synapses in plastic]


def fused(
    spikes: OutPort, answers: OutPort, weights: Weights, feedback: np.ndarray, learn: bool
) -> tuple[OutPort, Callable[[], Weights]]:
    """Do the same by one Process, which computes the same weights."""
    neuron = RealNeuron(np.array(BETA), np.array(1.0), np.array(0.0), Reset.SUBTRACT_NEXT_STEP)
    layers = zip(("hidden", "output"), weights, factors(feedback), strict=True)
    chain = [PlasticPopulation(name, neuron, RealSynapses(w, learn), None, factor) for name, w, factor in layers]
    network = PlasticNetwork(program=PlasticProgram(tuple(chain), READOUT, STEPS))
    spikes.connect(network.s_in)
    answers.connect(network.t_in)

    def read() -> Weights:
        parts = np.split(network.weights.get(), [weights[0].size])
        return [part.reshape(w.T.shape).T for part, w in zip(parts, weights, strict=True)]

    return network.s_out, read


def present(
    build: Callable, images: np.ndarray, labels: np.ndarray, weights: Weights, feedback: np.ndarray, learn: bool
) -> tuple[float, Weights]:
    """Show images (sample, pixel) once, in one run of Lava; return the accuracy and the weights afterwards."""
    outputs, steps = len(weights[1]), len(images) * PERIOD
    currents = np.zeros((len(images), PERIOD, images.shape[1]))
    currents[:, :STEPS] = images[:, None]
    pixels = source.RingBuffer(data=currents.reshape(steps, -1).T)
    answers = source.RingBuffer(data=np.repeat(np.eye(outputs)[labels], PERIOD, axis=0).T)
    encoder = LIF(shape=(images.shape[1],), du=1, dv=0, vth=1.0)
    answered = sink.RingBuffer(shape=(outputs,), buffer=steps)

    pixels.s_out.connect(encoder.a_in)
    fired, read = build(encoder.s_out, answers.s_out, weights, feedback, learn)
    fired.connect(answered.a_in)
    try:
        pixels.run(RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="floating_pt"))
        counts = answered.data.get().reshape(outputs, len(images), PERIOD).sum(2)
        return float(np.mean(counts.argmax(0) == labels)), read()
    finally:
        pixels.stop()


def beginning(hidden: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Weights, np.ndarray]:
    """Return pixels (sample, 64), at most a spike every other step, labels, random weights and random feedback."""
    random = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    chosen = random.permutation(np.flatnonzero(np.isin(labels, CLASSES)))
    shapes = ((hidden, 64), (len(CLASSES), hidden))
    weights = [2 / shape[1] ** 0.5 * random.uniform(-1, 1, shape) for shape in shapes]
    feedback = random.normal(size=(hidden, len(CLASSES))) / len(CLASSES) ** 0.5
    return images[chosen] / 32, np.searchsorted(CLASSES, labels[chosen]), weights, feedback


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--limit", type=int, default=300, help="samples to learn from")
    arguments.add_argument("--fused", action="store_true", help="both layers as one Process")
    given = arguments.parse_args()
    build = fused if given.fused else engine

    images, labels, weights, feedback = beginning()
    held_out = min(100, given.limit)
    test, train = slice(0, held_out), slice(100, 100 + given.limit)
    before, _ = present(build, images[test], labels[test], weights, feedback, learn=False)
    _, weights = present(build, images[train], labels[train], weights, feedback, learn=True)
    after, _ = present(build, images[test], labels[test], weights, feedback, learn=False)
    learned = len(images[train])
    print(f"accuracy on {held_out} other samples before: {before:.0%}, after learning from {learned}: {after:.0%}")


if __name__ == "__main__":
    main()
