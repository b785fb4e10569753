"""How fast is on-chip learning? The engine, the fused process and Lava's learning engine on the same 64-64-10 network.

    python -m tests.benchmarks.onchip_learning [--repeats 5] [--samples 20]

One run on one machine: digits in 20 steps, e-prop from random weights, all layers learning. Lava's runtime with a
LearningDense per group of synapses, Lava's runtime with the fused process, and the engine take turns on the same
samples; ratios are of neighbours, and the median is given. Lava's start-up is not counted. The engine is also timed on
1,000 samples, since twenty take it no longer than a clock can tell. Where Lava's time goes is measured on its process
models: what they take without the runtime, and what of that is spent in the learning engine.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
from typing import Any

import numpy as np

from neurodeploy import datasets, onchip, pipeline
from neurodeploy.backends.loihi2.learn import learn as learn_on_lava
from neurodeploy.lowering.plastic import OnlineOptions
from tests.plastic_programs import network

SIZES, STEPS, MANY = (64, 64, 10), 20, 1000


def measure(arithmetic: str, repeats: int, samples: int) -> dict[str, float]:
    """Return milliseconds per time step, and how many times one takes the other."""
    encoding = datasets.Encoding("rate", STEPS)
    model = pipeline.compile(network(SIZES, beta=0.8), "loihi2-sim", encoding=encoding)
    task = onchip.Task(model, "eprop", OnlineOptions(initial="random"), arithmetic)
    training = datasets.load("digits", "train", MANY)
    spikes, labels = task.spikes(task.payloads(training.encode(encoding))), training.labels
    program = task.program(0)
    steps, many = program.duration(samples), program.duration(MANY)

    def on_lava(process: str, on: str = "lava") -> float:
        run, _ = learn_on_lava(program, spikes[:samples], labels[:samples], on=on, model=process)
        return 1e3 * run.seconds / steps

    def on_engine() -> float:
        return 1e3 * onchip.plastic.learn(program, spikes, labels).seconds / many

    on_engine()
    rows = np.array([(on_lava("engine"), on_lava("fused"), on_engine()) for _ in range(repeats)])
    graph, fused, engine = np.median(rows, 0)
    return {
        "lava_learning_engine_ms": graph,
        "lava_fused_ms": fused,
        "engine_ms": engine,
        "fused_times_learning_engine": float(np.median(rows[:, 0] / rows[:, 1])),
        "engine_times_learning_engine": float(np.median(rows[:, 0] / rows[:, 2])),
        "engine_times_fused": float(np.median(rows[:, 1] / rows[:, 2])),
        **{f"models_{process}_ms": on_lava(process, "lava-models") for process in onchip.PROCESSES},
        **shares(lambda: on_lava("engine", "lava-models")),
    }


def shares(run: Any) -> dict[str, float]:
    """Return which shares of the process models' stepping are the learning engine's and the neurons'."""
    profile = cProfile.Profile()
    profile.runcall(run)
    entries = pstats.Stats(profile).stats.items()

    def seconds(file: str, function: str) -> float:
        return sum(entry[3] for (path, _, name), entry in entries if path.endswith(file) and name == function)

    whole = seconds("lava_models.py", "step_models")
    return {
        "share_of_learning": seconds("model/py/connection.py", "run_lrn") / whole,
        "share_of_neurons": seconds("plastic_lif.py", "run_spk") / whole,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args()
    found = {kind: measure(kind, given.repeats, given.samples) for kind in onchip.ARITHMETICS}
    print(json.dumps(found, indent=1))
