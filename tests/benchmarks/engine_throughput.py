"""How fast is the engine? Paired with snnTorch's float forward pass and with Lava's runtime, and against the machine.

    python -m tests.benchmarks.engine_throughput [--repeats 15]

One run on one machine: the shipped 784-128-10 network, 25 steps, 1,000 rate-coded MNIST test digits, from spike frames
(bytes, as the encoding makes them) to decisions; snnTorch's time is also given without making floats of them. Engine
and snnTorch take turns; Lava's runtime runs 20 of the digits, its start-up not counted. What limits the engine is given
as synaptic additions per second beside what this machine adds at all, measured the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from numba import njit, prange

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.ir.nodes import Linear

MODEL = Path(__file__).parents[2] / "models" / "mnist_mlp" / "model.pt"
SAMPLES, LAVA_SAMPLES = 1000, 20


class Reference(torch.nn.Module):
    """The shipped network as snnTorch's tutorials would write it, forward pass only."""

    def __init__(self, model: CompiledModel) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList()
        network = model.source
        maps = [node for node in network.nodes.values() if isinstance(node, Linear)]
        for node, lif in zip(maps, network.populations.values(), strict=True):
            layer = torch.nn.Linear(*node.weight.T.shape, bias=node.bias is not None)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(node.weight))
                if node.bias is not None:
                    layer.bias.copy_(torch.from_numpy(node.bias))
            self.layers.append(layer)
            beta, threshold = float(lif.beta), float(lif.threshold)
            self.layers.append(snn.Leaky(beta=beta, threshold=threshold, reset_mechanism=lif.reset.value.split("_")[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        neurons = self.layers[1::2]
        membranes = [neuron.init_leaky() for neuron in neurons]
        counts = torch.zeros(())
        for frame in x:
            spikes = frame
            for k, (linear, neuron) in enumerate(zip(self.layers[::2], neurons, strict=True)):
                spikes, membranes[k] = neuron(linear(spikes), membranes[k])
            counts = counts + spikes
        return counts.argmax(dim=1)


@njit(parallel=True)
def _add(rows: np.ndarray, sums: np.ndarray, rounds: int) -> None:
    """Add rows of int16 that lie in the first-level cache, all cores at once: the machine's own rate of additions."""
    for worker in prange(sums.shape[0]):
        total = sums[worker]
        for _ in range(rounds):
            for j in range(total.size):
                left = np.int16(rows[0, j] + rows[1, j]) + np.int16(rows[2, j] + rows[3, j])
                right = np.int16(rows[4, j] + rows[5, j]) + np.int16(rows[6, j] + rows[7, j])
                total[j] = np.int16(total[j] + np.int16(left) + np.int16(right))


def peak_additions(repeats: int) -> float:
    """Return int16 additions per second, of 128-wide rows in cache, on all cores."""
    rng = np.random.default_rng(0)
    rows, sums, rounds = (
        rng.integers(-9, 9, (8, 128)).astype(np.int16),
        np.zeros((os.cpu_count(), 128), np.int16),
        200_000,
    )
    seconds = timed(lambda: _add(rows, sums, rounds), repeats)
    return 8 * rows.shape[1] * rounds * len(sums) / float(np.min(seconds))


def timed(run: Callable[[], object], repeats: int) -> list[float]:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(repeats: int) -> dict[str, float]:
    """Return the figures of one run."""
    torch.set_grad_enabled(False)
    torch.set_num_threads(os.cpu_count() or 1)
    model = pipeline.compile(MODEL, "loihi2-sim")
    samples = pipeline.read_data("mnist", model.program.encoding, model.program.input.shape, SAMPLES)
    frames, network = torch.from_numpy(samples.inputs), Reference(model).eval()
    prepared = frames.float()
    ours, theirs, forward = [], [], []
    pipeline.run(model, samples)
    network(prepared)
    for _ in range(repeats):
        ours += timed_once(lambda: pipeline.run(model, samples))
        theirs += timed_once(lambda: network(frames.float()))
        forward += timed_once(lambda: network(prepared))
    result = pipeline.run(model, samples)
    steps, count = samples.inputs.shape[:2]
    few = pipeline.Samples("mnist", samples.inputs[:, :LAVA_SAMPLES], samples.labels[:LAVA_SAMPLES])
    lava = pipeline.run(model, few, on="lava")
    synops = pipeline.evaluate(model, samples, result).activity.synops
    engine, peak = float(np.median(ours)), peak_additions(repeats)
    lava_rate = steps * LAVA_SAMPLES / lava.seconds
    ratios = np.array(theirs) / np.array(ours)
    return {
        "engine_ms": 1e3 * engine,
        "engine_best_ms": 1e3 * min(ours),
        "engine_sample_steps_per_s": steps * count / engine,
        "snntorch_ms": 1e3 * float(np.median(theirs)),
        "times_snntorch": float(np.median(ratios)),
        "times_snntorch_on_floats_made_before": float(np.median(np.array(forward) / np.array(ours))),
        "lava_steps_per_s": lava_rate,
        "times_lava": steps * count / engine / lava_rate,
        "additions_per_s": synops / engine,
        "peak_additions_per_s": peak,
        "share_of_peak": synops / engine / peak,
    }


def timed_once(run: Callable[[], object]) -> list[float]:
    start = time.perf_counter()
    run()
    return [time.perf_counter() - start]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    print(json.dumps(measure(parser.parse_args().repeats), indent=1))
