"""Use a network translated by neurodeploy inside a PyNN script of your own.

    python examples/05_embed_in_pynn.py [nest|brian2]

A source of yours feeds it, and a cell of yours listens to it; neurodeploy only hands over populations and projections.
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

import neurodeploy
from neurodeploy.backends.spinnaker.populations import build, setup, trains
from neurodeploy.datasets import Encoding

MODEL = Path(__file__).parents[1] / "models" / "digits_mlp" / "model.pt"
START = 2  # ms: the first step in which a source of NEST's can fire


def main(simulator: str) -> None:
    sim = import_module(f"pyNN.{simulator}")
    program = neurodeploy.compile(MODEL, "spinnaker1", encoding=Encoding("rate", 25)).program
    digit = neurodeploy.read_data("digits", program.encoding, program.input.shape, limit=1)
    stimulus = digit.inputs[:, 0]  # (step, neuron)
    steps = len(stimulus)

    setup(sim, program)
    source = sim.Population(64, sim.SpikeSourceArray(spike_times=trains(stimulus, START)))
    embedded = build(program, sim, source)
    for name, bias in embedded.biases.items():
        bias.set(spike_times=trains(np.ones((steps, 1)), START + embedded.timing.bias_steps[name]))
    output = embedded.populations[program.output]
    listener = sim.Population(1, sim.IF_curr_exp(v_rest=0.0, v_reset=0.0, v_thresh=3.0, tau_refrac=1.0))
    listener.initialize(v=0.0)
    sim.Projection(output, listener, sim.AllToAllConnector(), sim.StaticSynapse(weight=1.0, delay=1.0))

    output.record("spikes")
    listener.record("spikes")
    end = START + steps + embedded.timing.steps[program.output]
    sim.run(float(end))
    counts = [int(np.sum(train.magnitude < end)) for train in output.get_data().segments[0].spiketrains]
    print("this is a          ", digit.labels[0])
    print("spikes per class:  ", counts)
    print(f"{simulator}'s network says", int(np.argmax(counts)))
    print("the listener fires ", len(listener.get_data().segments[0].spiketrains[0]), "times")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "nest")
