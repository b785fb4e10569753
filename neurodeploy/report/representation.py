"""Does the deployed program represent what the source represented? Layers compared, and where the information lies.

CKA compares what layers fire, on the same samples: the float source in PyTorch beside the program in the engine, layer
by layer and every layer with every other. Fisher information says which weights carry the decision, and when: of the
source, and of the same network with the weights, decays and thresholds that the program's integers stand for. Both are
measured over the lowered network, whose tensors are the program's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from neurodeploy import pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.engine.real import sparse_matrix
from neurodeploy.errors import NeurodeployError
from neurodeploy.evaluation import fidelity, fisher, rounding, similarity
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Conv, Firing, Linear, SparseLinear
from neurodeploy.learning.probing import Probe
from neurodeploy.learning.training import on_device
from neurodeploy.lowering import lower
from neurodeploy.pipeline import Samples
from neurodeploy.report.robustness import labels_of
from neurodeploy.summary import of_absence

Plain = dict[str, Any]
Progress = Callable[[str, int, int], None]

COMPARED = 256
"""Samples whose layers are compared."""
BATCH = 64
"""Of them, how many at once."""
INFORMATIVE = 20
"""Samples over which Fisher information is averaged."""
FRACTIONS = (0.25, 0.5, 1.0)
"""Parts of the steps after which it is measured."""


@dataclass(frozen=True)
class Measured:
    """Fisher information by estimate, of halves of the samples and of all of them; and by number of steps."""

    halves: list[dict[str, fisher.Information]]
    whole: dict[str, fisher.Information]
    over_time: dict[int, fisher.Information]


@on_device("cpu")
def representation(
    model: CompiledModel,
    samples: Samples,
    *,
    compared: int = COMPARED,
    batch: int = BATCH,
    informative: int = INFORMATIVE,
    progress: Progress | None = None,
) -> Plain:
    """Return how alike source and program represent `samples`, and where their Fisher information lies, as JSON values.

    Args:
        compared: how many samples CKA sees, the first ones, in mini-batches of about `batch`.
        informative: how many samples Fisher information is averaged over.
        progress: called with what is done, how much of it, and of how much.

    Returns:
        "cka", "matrix", "fisher", "over_time"; "unavailable" and "fix" in the place of what cannot be had, None with
        "why" for a layer that has no similarity. "moved": how much of the information is in other tensors after
        deployment, beside what differs between the first and the second half of the samples.
    """
    few = Samples(samples.name, samples.inputs[:, :compared], samples.labels)
    found: Plain = {"samples": few.inputs.shape[1]}
    try:
        found |= _similarity(model, few, batch, progress)
    except NeurodeployError as error:
        found |= {"cka": of_absence(error), "matrix": of_absence(error)}
    try:
        found |= _information(model, samples, informative, progress)
    except NeurodeployError as error:
        found |= {"fisher": of_absence(error), "over_time": of_absence(error)}
    return found


def _similarity(model: CompiledModel, samples: Samples, batch: int, progress: Progress | None) -> Plain:
    """Return CKA of every layer of the source with every layer of the program, and how their spikes agree."""
    names = list(model.source.populations), [population.name for population in model.program.populations]
    sums = {(a, b): similarity.MiniBatchCKA() for a in names[0] for b in names[1]}
    as_is = {name for name, node in model.source.populations.items() if node.firing is Firing.VALUE}
    agreed, count = {name: 0.0 for name in names[0] if name not in as_is}, samples.inputs.shape[1]
    parts = np.array_split(np.arange(count), max(1, count // batch))
    for at, part in enumerate(parts):
        if progress:
            progress("layers compared", at, len(parts))
        inputs = samples.inputs[:, part]
        source = run_source(model.source, inputs)
        deployed = pipeline.run(model, Samples(samples.name, inputs, None))
        deployed = replace(deployed, spikes=model.program.real_values(deployed.spikes))
        shares = fidelity.agreement(source, deployed)
        agreed = {name: so_far + shares[name] * len(part) / count for name, so_far in agreed.items()}
        grams = [_grams(result.spikes) for result in (source, deployed)]
        for (a, b), each in sums.items():
            each.add_grams(grams[0][a], grams[1][b])
    if progress:
        progress("layers compared", len(parts), len(parts))
    values = {pair: _value(each) for pair, each in sums.items()}
    return {
        "cka": [
            {
                "layer": name,
                "cka": values[name, name][0],
                "spike_agreement": agreed.get(name),
                "why": values[name, name][1],
            }
            for name in names[0]
        ],
        "matrix": {
            "source": names[0],
            "deployed": names[1],
            "cka": [[values[a, b][0] for b in names[1]] for a in names[0]],
        },
    }


def _grams(spikes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: similarity.gram(similarity.concatenated(fired)) for name, fired in spikes.items()}


def _value(aligned: similarity.MiniBatchCKA) -> tuple[float | None, str | None]:
    """Return a similarity, or None and why there is none."""
    try:
        return aligned.value, None
    except NeurodeployError as error:
        finding = error.findings[0]
        return None, f"{finding.what}: {finding.why}"


def _information(model: CompiledModel, samples: Samples, informative: int, progress: Progress | None) -> Plain:
    """Return the Fisher information of source and program, tensor by tensor and over time."""
    inputs, labels = samples.inputs[:, :informative], None
    if samples.labels is not None:
        labels = labels_of(model, samples)[:informative]
    meant, port = lower(model.source), model.program.input
    entered = pipeline.backend_of(model.profile).payloads(port, inputs) * port.scale
    sides = {"source": (meant, inputs), "deployed": (rounding.dequantized(model), entered)}
    measured: dict[str, Measured] = {}
    for at, (who, (network, shown)) in enumerate(sides.items()):
        if progress:
            progress("Fisher information", at, len(sides))
        measured[who] = _measured(network, shown, labels)
    if progress:
        progress("Fisher information", len(sides), len(sides))
    source, deployed = measured.values()
    over_time = "expected" if labels is None else "empirical"
    return {
        "fisher_samples": inputs.shape[1],
        "fisher_of": _said_of(model.source, meant),
        "fisher": [
            {"tensor": name, "parameters": size, **_row(source, deployed, name)}
            for name, size in source.whole["expected"].parameters.items()
        ],
        "moved": {
            name: {
                "by_deployment": _moved(source.whole[name], deployed.whole[name]),
                "between_halves": _moved(*(half[name] for half in source.halves)) if len(source.halves) == 2 else None,
            }
            for name in source.whole
        },
        "over_time_estimate": over_time,
        "over_time": [
            {
                "step": step,
                "tensor": name,
                "share": _share(each, name),
                "deployed_share": _share(deployed.over_time[step], name),
            }
            for step, each in source.over_time.items()
            for name in each.parameters
        ],
    }


def _measured(network: Network, inputs: np.ndarray, labels: np.ndarray | None) -> Measured:
    """Return the estimates of halves of the samples and of all, and over time the one that labels allow."""
    dense, stored = _dense(network)
    probe, classes = Probe(dense), network.populations[network.output].size
    gradients = partial(_of_stored, probe.weight_gradients, stored)
    estimates: dict[str, fisher.Estimate] = {}
    if labels is not None:
        estimates["empirical"] = partial(fisher.empirical, gradients, classes=classes)
    estimates["expected"] = partial(fisher.expected, gradients, probe.probabilities)
    unused = np.zeros(inputs.shape[1], np.int64)
    parts = [part for part in np.array_split(np.arange(inputs.shape[1]), 2) if len(part)]
    batches = [(inputs[:, part], (unused if labels is None else labels)[part]) for part in parts]
    halves = [{name: estimate([batch]) for name, estimate in estimates.items()} for batch in batches]
    times = sorted({max(1, round(part * len(inputs))) for part in FRACTIONS})
    return Measured(
        halves,
        {name: _together([half[name] for half in halves]) for name in estimates},
        fisher.over_time(next(iter(estimates.values())), batches, times),
    )


def _together(parts: list[fisher.Information]) -> fisher.Information:
    """Return the information of all samples, from that of disjoint parts of them."""
    total = sum(part.samples for part in parts)
    trace = {name: sum(part.trace[name] * part.samples for part in parts) / total for name in parts[0].trace}
    return replace(parts[0], trace=trace, samples=total)


def _dense(network: Network) -> tuple[Network, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return `network` with sparse maps as matrices, which `Probe` takes, and where in them weights are stored."""
    nodes, stored = dict(network.nodes), {}
    for name, node in network.nodes.items():
        if isinstance(node, SparseLinear):
            rows = np.repeat(np.arange(len(node.indptr) - 1), np.diff(node.indptr))
            nodes[name] = Linear(sparse_matrix(node).toarray(), node.bias)
            (edge,) = network.outgoing(name)
            loop = any(entry.source == edge.target for entry in network.incoming(name))
            stored[f"{edge.target}.recurrent" if loop else f"{name}.weight"] = (rows, node.indices)
    return replace(network, nodes=nodes), stored


def _of_stored(
    gradients: fisher.Gradients,
    stored: dict[str, tuple[np.ndarray, np.ndarray]],
    inputs: np.ndarray,
    targets: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return gradients by stored weights alone: where a sparse map has none, none can carry information."""
    found = dict(gradients(inputs, targets))
    for name, (rows, columns) in stored.items():
        found[name] = found[name][:, rows, columns]
    return found


def _said_of(source: Network, lowered: Network) -> str:
    """Say whose weights the information is about."""
    changed = [name for name, node in lowered.nodes.items() if not _same(source.nodes.get(name), node)]
    if not changed:
        return "the source's own weights"
    return f"the lowered network's weights: {', '.join(changed)} are multiplied out of several layers, or rescaled"


def _same(node: Any, lowered: Any) -> bool:
    """Say whether a map has the same weights before and after lowering; what has none is never another."""
    if not isinstance(lowered, Linear | SparseLinear | Conv):
        return True
    return type(node) is type(lowered) and np.array_equal(_weights(node), _weights(lowered))


def _weights(node: Linear | SparseLinear | Conv) -> np.ndarray:
    return node.data if isinstance(node, SparseLinear) else node.weight


def _row(source: Measured, deployed: Measured, name: str) -> Plain:
    """Return a tensor's share and information per parameter, None for the empirical ones without labels."""
    found: Plain = {}
    for estimate, prefix in (("empirical", ""), ("expected", "expected_")):
        for side, measures in (("", source), ("deployed_", deployed)):
            each = measures.whole.get(estimate)
            found[f"{side}{prefix}share"] = None if each is None else _share(each, name)
            found[f"{side}{prefix}per_parameter"] = None if each is None else each.per_parameter[name]
    return found


def _share(information: fisher.Information, name: str) -> float | None:
    """Return a tensor's part of the whole, or None where there is no information at all to have a part of."""
    return information.share[name] if any(information.trace.values()) else None


def _moved(one: fisher.Information, other: fisher.Information) -> float | None:
    """Return the part of the information that is in other tensors in `other`: half the sum of |differences|."""
    if not (any(one.trace.values()) and any(other.trace.values())):
        return None
    return sum(abs(share - other.share[name]) for name, share in one.share.items()) / 2
