"""A `PairedProgram` in PyTorch, its rules' tables read literally: what on-chip STDP is held against.

Slow and obvious, as `online.py`: one time step at a time for the features, whose table says what happens in every step,
and one sample at a time for the output, whose table says what its end brings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from neurodeploy.ir.nodes import Reset
from neurodeploy.ir.paired import Features, Output, PairedProgram
from neurodeploy.learning.interpreter import Values, weight_change


class _Neurons:
    """Membrane and spikes (neuron,) of a population."""

    def __init__(self, population: Features | Output, threshold: np.ndarray) -> None:
        self.beta = float(population.neuron.beta.flat[0])  # type: ignore[union-attr]
        self.reset = population.neuron.reset
        self.threshold = torch.tensor(np.broadcast_to(threshold, population.size).copy(), dtype=torch.float64)
        self.rest()

    def rest(self) -> None:
        self.v = self.over = self.z = torch.zeros_like(self.threshold)

    def advance(self, activation: Tensor) -> None:
        v = self.beta * self.v + activation
        if self.reset is Reset.ZERO_NEXT_STEP:
            v = (1 - self.over) * v
        elif self.reset in (Reset.SUBTRACT_NEXT_STEP, Reset.SUBTRACT):
            v = v - self.threshold * self.over
        self.z = (v > self.threshold).double()
        if self.reset is Reset.ZERO:
            v = (1 - self.z) * v
        elif self.reset is Reset.SUBTRACT:
            v = v - self.threshold * (self.z - self.over)
        self.v, self.over = v, (v > self.threshold).double()


def learn_online(
    program: PairedProgram, spikes: np.ndarray, labels: np.ndarray, *, trajectory: bool = False
) -> tuple[tuple[np.ndarray, ...], np.ndarray, tuple[np.ndarray, ...]]:
    """Run a real program from rest on samples and return its weights afterwards, its predictions, and its trajectory.

    Args:
        spikes: (sample, step, input), zero or one.
        labels: (sample,).
        trajectory: whether to keep the weights of every step, per group (step, post, pre); otherwise none are.
    """
    features, output, reward, homeostasis = (
        program.features, program.output, program.output.reward, program.features.homeostasis
    )  # fmt: skip
    inner, outer = _Neurons(features, features.threshold), _Neurons(output, output.neuron.theta)  # type: ignore[union-attr]
    forward, inhibition, _, votes = (torch.tensor(weight, dtype=torch.float64) for weight in program.weights)
    last = program.steps + 2
    memory: Values = {}
    trace: Values = {}
    predictions, rows = [], []

    def now() -> list[np.ndarray]:
        return [weight.numpy().copy() for weight in (forward, inhibition, inner.threshold[:, None], votes)]

    rows += [now()] * program.start
    drive, sent = torch.zeros(features.size).double(), torch.zeros(output.size).double()
    for sample, label in zip(spikes, labels, strict=True):
        fired, counted = [], []
        for n in range(program.period):
            x = torch.as_tensor(sample[n] if n < program.steps else np.zeros(program.inputs)).double()
            for neurons, activation, at in ((inner, drive, n - 1), (outer, sent, n - 2)):
                if at <= 0 or at >= program.steps:
                    neurons.rest()
                if 0 <= at < program.steps:
                    neurons.advance(activation)
            fired.append(inner.z)
            counted.append(outer.z)
            if n == program.steps + 1:
                risen = inner.threshold + homeostasis.rise * torch.stack(fired).sum(0) - homeostasis.fall
                inner.threshold = risen.clamp(min=homeostasis.least)
            drive, sent = forward @ x + inhibition @ inner.z, votes @ inner.z
            change, memory = weight_change(
                program.rule,
                x.reshape(1, 1, -1),
                inner.z.reshape(1, 1, -1),
                weights=forward,
                constants=_constants(program.rule.constants, features),
                before=memory,
            )
            if features.forward.plastic:
                forward = forward + change
            if n == last and output.forward.plastic:
                decision = int(torch.stack(counted).sum(0).argmax())
                size = reward.reward if decision == int(label) else -reward.punishment
                signal = torch.zeros(len(fired), 1, output.size, dtype=torch.float64)
                signal[-1, 0, decision] = 2.0**reward.exponent * size
                change, trace = weight_change(
                    program.reward_rule,
                    torch.stack(fired)[:, None],
                    torch.stack(counted)[:, None],
                    signal=signal,
                    constants=_constants(program.reward_rule.constants, output),
                    before=trace | {"e": torch.zeros(())},
                )
                votes = votes + change
            if trajectory:
                rows.append(now())
        for _ in range(program.period - 1 - last):
            silence = torch.zeros(1, 1, features.size), torch.zeros(1, 1, output.size)
            _, trace = weight_change(
                program.reward_rule, *silence, constants=_constants(program.reward_rule.constants, output), before=trace
            )
        predictions.append(int(torch.stack(counted).sum(0).argmax()))
    kept = tuple(map(np.stack, zip(*rows, strict=True))) if trajectory else ()
    return tuple(now()), np.array(predictions), kept


def _constants(names: tuple[str, ...], population: Features | Output) -> dict[str, float]:
    return {name: population.pairing.constants[name] for name in names}
