"""Where can a perturbation enter a deployed network, and what runs then? In its images, or in the input of every step.

image    pixels are perturbed, clipped to [0, 1], encoded as always, and run on the artefact as it is: what someone
         who holds a picture up to a chip can do
input    every step is perturbed by itself. The result is neither spikes nor on the levels that were compiled for,
         so the source is compiled anew for it
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from neurodeploy import datasets, pipeline
from neurodeploy.artifact import CompiledModel
from neurodeploy.datasets.decoding import images_behind, slope_of_pixels
from neurodeploy.errors import Change, UnsupportedError, UsageError
from neurodeploy.frontends.source import run_source
from neurodeploy.hardware import HardwareProfile
from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import InputKind
from neurodeploy.ir.program import InputPort
from neurodeploy.pipeline import Samples
from neurodeploy.results import decide

Run = Callable[[np.ndarray], np.ndarray]
"""Perturbed input -> what the output fires, (step, sample, *neuron)."""
CALIBRATION = 64
"""Samples on which a program that is to meet perturbed input is calibrated."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a perturbation enters.

    Args:
        says: how what is perturbed reaches the program.
        clean: what is perturbed, (step, sample, *neuron); images are one step.
        low, high: least and greatest value that a perturbed one is given, None for any.
        source, deployed: the float network and the program, fed with what is perturbed.
        slope: the derivative of a loss by `clean`, given that by the input (step, sample, *neuron).
    """

    says: str
    clean: np.ndarray
    low: float | None
    high: float | None
    source: Run
    deployed: Run
    slope: Callable[[np.ndarray], np.ndarray]

    @cached_property
    def unperturbed(self) -> dict[str, np.ndarray]:
        """What source and deployed decide of `clean`, (sample,)."""
        return {"source": decide(self.source(self.clean)), "deployed": decide(self.deployed(self.clean))}


def image_place(model: CompiledModel, samples: Samples) -> Place:
    """Perturb the images behind `samples`; spikes do not tell theirs, so they have to be a data set's first ones.

    Raises:
        UsageError: ND402 when the model records no encoding, ND440 when the images are not known.
    """
    port, plain = model.program.input, model.source.encoding
    if plain is None:
        raise UsageError(pipeline.no_encoding(samples.name))
    encoding, pixels = datasets.Encoding.from_plain(plain), None
    if samples.name in datasets.NAMES:
        known = datasets.load(samples.name, limit=samples.inputs.shape[1])
        pixels = known.images if isinstance(known, datasets.Dataset) else None
    images = images_behind(samples.inputs, encoding, pixels)

    def encoded(perturbed: np.ndarray) -> np.ndarray:
        shown = encoding.encode(np.clip(perturbed[0], 0, 1))
        return shown.reshape(*shown.shape[:2], *port.shape)

    says = f"pixels are perturbed, clipped to [0, 1] and encoded ({encoding.kind}, {encoding.steps} steps"
    says += f", seed {encoding.seed})" if encoding.kind == "rate" else ")"
    says += "; the artefact runs as it is"
    if port.kind is InputKind.GRADED:
        says += f", its input rounded to multiples of {port.scale:.4g}, which can undo a perturbation or enlarge it"
    return Place(
        says,
        images[np.newaxis],
        0.0,
        1.0,
        lambda x: fired_by_source(model, encoded(x)),
        lambda x: fired(model, encoded(x)),
        lambda slope: slope_of_pixels(images, encoding, slope)[np.newaxis],
    )


def input_place(model: CompiledModel, samples: Samples, reach: float) -> Place:
    """Perturb the input of every step by up to `reach`.

    Raises:
        NeurodeployError: as `perturbable`.
    """
    allow = {each.code for each in model.program.deviations if each.change is Change.SUBSTITUTION}
    try:
        anew = perturbable(model.source, model.profile, samples.inputs[:, :CALIBRATION], reach, allow)
    except UnsupportedError as error:
        fix = "perturb images before they are encoded, or compile the source for a target that takes graded input"
        raise UnsupportedError(*(replace(finding, fix=fix) for finding in error.findings)) from error
    port = anew.program.input
    same = np.mean(decide(fired(anew, samples.inputs)) == decide(fired(model, samples.inputs)))
    return Place(
        "perturbed input is neither spikes nor on the levels that were compiled for, so the source was compiled anew "
        f"for {model.profile.id}: graded input of {port.bits} bits from {port.low * port.scale:.3g} to "
        f"{port.high * port.scale:.3g}, ranges measured on these samples with noise; unperturbed, it decides as the "
        f"artefact does on {same:.1%}",
        samples.inputs,
        None,
        None,
        partial(fired_by_source, model),
        partial(fired, anew),
        lambda slope: slope,
    )


def perturbable(
    network: Network,
    target: str | HardwareProfile,
    clean: np.ndarray,
    reach: float,
    allow: Collection[str] = (),
) -> CompiledModel:
    """Return `network` compiled for input as far off as `reach`: graded, with even levels over the whole range.

    It is calibrated on `clean`, perturbed at random.

    Args:
        clean: input as meant, (step, sample, *neuron); reach: the largest perturbation, in units of the input.
        allow: codes of substitutions the user accepts.

    Raises:
        NeurodeployError: as `pipeline.compile`, for instance of a target whose input is spikes and nothing else.
    """
    noise = np.random.default_rng(0).uniform(-reach, reach, clean.shape).astype(np.float32)
    shown = clean.astype(np.float32) + noise
    source = replace(network.input_node, kind=InputKind.GRADED, low=-reach, high=1 + reach, levels=None)
    graded = replace(network, nodes=network.nodes | {network.input: source})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "perturbed.npz"
        np.savez(path, inputs=shown)
        return pipeline.compile(graded, target, calibration=path, allow=allow)


def accepted(port: InputPort, values: np.ndarray) -> np.ndarray:
    """Return real input as a chip's host hands it over: the nearest payloads that were compiled for, as real values."""
    if port.kind is InputKind.SPIKES:
        return values
    return np.clip(np.rint(np.asarray(values, np.float64) / port.scale), port.low, port.high) * port.scale


def fired_by_source(model: CompiledModel, inputs: np.ndarray) -> np.ndarray:
    """Return the output's spikes (step, sample, *neuron) in the float network."""
    return run_source(model.source, inputs).spikes[model.source.output]


def fired(model: CompiledModel, inputs: np.ndarray) -> np.ndarray:
    """Return the output's spikes or values (step, sample, *neuron) in the program, for input as its port accepts it."""
    taken = Samples("perturbed", accepted(model.program.input, inputs), None)
    program = model.program
    return program.real_values(pipeline.run(model, taken).spikes)[program.output]
