"""Use a network translated by neurodeploy inside a Lava program of your own.

    python examples/02_embed_in_lava.py

A source of yours feeds it, and a Process of yours listens to it; neurodeploy only hands over connected Processes.
"""

from pathlib import Path

import numpy as np

import neurodeploy
from neurodeploy.backends.loihi2 import network, payloads
from neurodeploy.backends.loihi2.processes import Recorder

# isort: split
# Lava comes after neurodeploy, which lets lava-nc 0.10.0 be imported on Python 3.11 and later.
from lava.magma.core.run_conditions import RunSteps
from lava.proc.io.source import RingBuffer

MODEL = Path(__file__).parents[1] / "models" / "digits_mlp" / "model.pt"


def main() -> None:
    program = neurodeploy.compile(MODEL, "loihi2-sim").program
    digit = neurodeploy.read_data("digits", program.encoding, program.input.shape, limit=1)
    stimulus = payloads(program.input, digit.inputs)[:, 0].T  # (neuron, step), as Lava's RingBuffer wants it
    steps = stimulus.shape[1] + program.latency_steps

    source = RingBuffer(data=np.pad(stimulus, ((0, 0), (0, program.latency_steps))))
    embedded = network.connect(program, source.s_out)
    listener = Recorder(shape=(10,), steps=steps)
    embedded.output.connect(listener.a_in)

    try:
        source.run(RunSteps(num_steps=steps), run_cfg=network.run_configuration())
        counts = listener.data[program.latency_steps :].sum(axis=0)
        print("this is a          ", digit.labels[0])
        print("spikes per class:  ", counts)
        print("Lava's network says", counts.argmax())
    finally:
        source.stop()


if __name__ == "__main__":
    main()
