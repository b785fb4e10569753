"""How fast are NEST and Brian2 beside the engine, and how long does it take to connect a network?

    python -m tests.benchmarks.pynn_throughput [--samples 400]

One run on one machine: the shipped 784-128-10 network compiled for SpiNNaker, 25 steps, random images of MNIST's
density (so that MNIST need not be here), spikes of every layer returned. A simulator's rate is of the whole call, its
start included, and apart from that of the run proper. Connections: 2,312 x 512 all to all, from the program to PyNN's
projections.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from neurodeploy import pipeline

MODEL = Path(__file__).parents[2] / "models" / "mnist_mlp" / "model.pt"
STEPS, SIMULATORS = 25, ("nest", "brian2")
LIT, BRIGHTNESS = 0.19, 0.69
"""The share of MNIST's pixels that are not black, and their mean."""
CONNECTING = """
import sys, time
from importlib import import_module
import numpy as np
from neurodeploy.backends.spinnaker import quantize
from neurodeploy.backends.spinnaker.populations import build, setup
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset
weight = np.random.default_rng(0).normal(size=(512, 2312))
nodes = {
    "in": Input((2312,), InputKind.SPIKES),
    "fc": Linear(weight),
    "lif": LIF((512,), np.array(0.9), np.array(1.0), Reset.ZERO),
}
program = quantize(Network(nodes, (Edge("in", "fc"), Edge("fc", "lif")), "in", "lif"))
sim = import_module(f"pyNN.{sys.argv[1]}")
setup(sim, program)
begin = time.perf_counter()
build(program, sim)
sys.stderr.write(f"\\n{time.perf_counter() - begin}\\n")
"""


def images(samples: int) -> pipeline.Samples:
    """Return rate-coded noise (step, sample, pixel) as bright as MNIST."""
    random = np.random.default_rng(0)
    rate = (random.random((samples, 784)) < LIT) * random.normal(BRIGHTNESS, 0.3, (samples, 784)).clip(0, 1)
    return pipeline.Samples("noise", (random.random((STEPS, samples, 784)) < rate).astype(np.uint8), None)


def connecting(simulator: str) -> float:
    """Return the seconds to build and connect 2,312 x 512 in a process of its own."""
    script = [sys.executable, "-c", CONNECTING, simulator]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    return float(done.stderr.split()[-1])


def measure(samples: int) -> dict[str, float]:
    """Return the figures of one run."""
    model, given = pipeline.compile(MODEL, "spinnaker1"), images(samples)
    pipeline.run(model, given)
    begin = time.perf_counter()
    ours = pipeline.run(model, given)
    engine = time.perf_counter() - begin
    figures = {"engine_samples_per_s": samples / engine}
    for simulator in SIMULATORS:
        begin = time.perf_counter()
        theirs = pipeline.run(model, given, on=simulator)
        seconds = time.perf_counter() - begin
        assert all(np.array_equal(theirs.spikes[name], ours.spikes[name]) for name in ours.spikes)
        assert theirs.seconds is not None
        figures |= {
            f"{simulator}_samples_per_s": samples / seconds,
            f"{simulator}_samples_per_s_once_started": samples / theirs.seconds,
            f"engine_times_{simulator}": seconds / engine,
            f"{simulator}_connects_2312x512_s": connecting(simulator),
        }
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=400)
    print(json.dumps(measure(parser.parse_args().samples), indent=1))
