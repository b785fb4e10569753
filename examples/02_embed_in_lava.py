"""Use a network translated by neurodeploy inside a Lava program of your own.

A source of yours feeds it, and a Process of yours listens to it; neurodeploy only hands over connected Processes.
"""

import numpy as np

from neurodeploy.backends.loihi2 import network
from neurodeploy.backends.loihi2.processes import Recorder

# isort: split
# Lava comes after neurodeploy, which lets lava-nc 0.10.0 be imported on Python 3.11 and later.
from lava.magma.core.run_conditions import RunSteps
from lava.proc.io.source import RingBuffer

from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import DenseSynapses, InputPort, Neuron, Population, Program, Projection


def two_neurons() -> Program:
    """Two neurons that lose their threshold one step after a spike, as snnTorch's Leaky does by default."""
    zero, leak, threshold = (np.array(value) for value in (0, 400, 60))
    neurons = Neuron(np.array(4096), leak, threshold, zero, 0, Reset.SUBTRACT_NEXT_STEP)
    weights = np.array([[20, 0, 5], [0, 30, -10]], np.int8)
    return Program(
        InputPort("input", (3,), InputKind.SPIKES),
        (Population("neurons", (2,), neurons, latency_steps=1, scale=64.0),),
        (Projection("weights", "input", "neurons", DenseSynapses(weights)),),
        output="neurons",
    )


def main() -> None:
    steps = 40
    stimulus = (np.random.default_rng(0).random((3, steps)) < 0.5).astype(np.int32)

    source = RingBuffer(data=stimulus)
    embedded = network.connect(two_neurons(), source.s_out)
    listener = Recorder(shape=(2,), steps=steps)
    embedded.output.connect(listener.a_in)

    try:
        source.run(RunSteps(num_steps=steps), run_cfg=network.run_configuration())
        print("spikes per neuron:", listener.data.sum(axis=0))
        print("last voltages:    ", embedded.populations["neurons"].v.get())
    finally:
        source.stop()


if __name__ == "__main__":
    main()
