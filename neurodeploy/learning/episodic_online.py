"""An `EpisodicProgram` with its table read literally, in PyTorch: e-prop of `learning/eprop.py`, sample by sample.

Slow and obvious: what the engine and NEST are held against.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurodeploy.ir.episodic import QUIET_STEPS, EpisodicProgram
from neurodeploy.ir.onchip import RealFactor, RealNeuron
from neurodeploy.learning.eprop import LIF_RULE
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.surrogates import triangle

Weights = tuple[np.ndarray, ...]


@torch.no_grad()
def learn_episodes(
    program: EpisodicProgram, spikes: np.ndarray, labels: np.ndarray, trajectory: bool = False
) -> tuple[Weights, np.ndarray, Weights]:
    """Return the weights, the predictions (sample,), and the weights after every sample (sample, post, pre) if asked.

    Args:
        spikes: (sample, step, input); labels: (sample,).
    """
    weights = [torch.tensor(weight, dtype=torch.float64) for weight in program.weights]
    predictions, rows = [], []
    for sample, label in zip(program.padded(spikes), labels, strict=True):
        x = torch.tensor(sample, dtype=torch.float64)
        changes, y = _sample(program, weights, x, int(label))
        weights = [weight + change for weight, change in zip(weights, changes, strict=True)]
        predictions.append(int(y.sum(0).argmax()))
        rows.append([weight.numpy() for weight in weights])
    path = tuple(map(np.stack, zip(*rows, strict=True))) if trajectory else ()
    return tuple(weight.numpy() for weight in weights), np.array(predictions), path


def _sample(program: EpisodicProgram, weights: list[Tensor], x: Tensor, label: int) -> tuple[list[Tensor], Tensor]:
    """Return dW of all groups and the read-out (step, output)."""
    neuron, reader, factor = program.hidden.neuron, program.output.neuron, program.hidden.factor
    assert isinstance(neuron, RealNeuron)
    assert isinstance(reader, RealNeuron)
    assert isinstance(factor, RealFactor)
    beta, kappa, theta = float(neuron.beta.flat[0]), program.kappa, torch.tensor(neuron.theta, dtype=torch.float64)
    loop = None if program.hidden.recurrent is None else weights[1]
    v = z = torch.zeros(program.hidden.size, dtype=torch.float64)
    y = torch.zeros(program.output.size, dtype=torch.float64)
    before, fired, potential, read = [], [], [], []
    for step, arriving in enumerate(x):
        awake = float(step >= QUIET_STEPS)
        before.append(z)
        v = beta * v + weights[0] @ arriving + awake * torch.tensor(neuron.bias) - theta * z
        v = v if loop is None else v + loop @ z
        z = (v > theta).double()
        y = kappa * y + weights[-1] @ z + awake * torch.tensor(reader.bias)
        fired.append(z)
        potential.append(v)
        read.append(y)
    spikes, v, y = torch.stack(fired), torch.stack(potential), torch.stack(read)
    error = y.softmax(1)
    error[:, label] -= 1
    psi, signal = triangle(v - theta, theta), (1 - kappa) * error @ torch.tensor(factor.feedback).T
    rate = factor.regularizer * (spikes.mean(0) - factor.target_rate) / len(x)
    changes = []
    for synapses, source in zip(program.hidden.synapses, (x, torch.stack(before)), strict=False):
        change = _change(source, psi, signal, beta, kappa) + _change(source, psi, rate.expand_as(psi), beta, 0.0)
        change = factor.rate * change * synapses.plastic
        changes.append(change.fill_diagonal_(0) if synapses is program.hidden.recurrent else change)
    last = program.output.factor
    assert isinstance(last, RealFactor)
    heard = _change(spikes, torch.ones_like(error), error, kappa, 0.0)
    return [*changes, last.rate * heard * program.output.forward.plastic], y


def _change(source: Tensor, psi: Tensor, signal: Tensor, beta: float, kappa: float) -> Tensor:
    x, psi, signal = (rows.unsqueeze(1) for rows in (source, psi, signal))
    constants = {"beta": beta, "kappa": kappa}
    return weight_change(LIF_RULE, x, torch.zeros_like(psi), psi=psi, signal=signal, constants=constants)[0]
