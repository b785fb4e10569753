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
    run = _Run(program)
    predictions, rows = [], [run.weights()] * program.start
    for sample, label in zip(spikes, labels, strict=True):
        run.begin()
        for n in range(program.period):
            run.step(sample[n] if n < program.steps else np.zeros(program.inputs), n)
            if n == program.steps + 1:
                run.settle()
            if n == program.steps + 2:
                run.reward(int(label))
            if trajectory:
                rows.append(run.weights())
        predictions.append(run.decision())
    kept = tuple(map(np.stack, zip(*rows, strict=True))) if trajectory else ()
    return tuple(run.weights()), np.array(predictions), kept


class _Run:
    """A program at some point of its life; `fired` and `counted` are the spikes of both populations in this sample."""

    def __init__(self, program: PairedProgram) -> None:
        self.program, self.features, self.output = program, program.features, program.output
        self.inner = _Neurons(self.features, self.features.threshold)
        self.outer = _Neurons(self.output, self.output.neuron.theta)  # type: ignore[union-attr]
        weights = (torch.tensor(weight, dtype=torch.float64) for weight in program.weights)
        self.forward, self.inhibition, _, self.votes = weights
        self.drive, self.sent = torch.zeros(self.features.size).double(), torch.zeros(self.output.size).double()
        self.memory: Values = {}
        self.trace: Values = {}
        self.begin()

    def weights(self) -> list[np.ndarray]:
        held = (self.forward, self.inhibition, self.inner.threshold[:, None], self.votes)
        return [weight.numpy().copy() for weight in held]

    def begin(self) -> None:
        self.fired: list[Tensor] = []
        self.counted: list[Tensor] = []

    def decision(self) -> int:
        return int(torch.stack(self.counted).sum(0).argmax())

    def step(self, inputs: np.ndarray, n: int) -> None:
        """Advance by one step, and change the features' weights by what their table says of it."""
        x, steps = torch.as_tensor(inputs).double(), self.program.steps
        for neurons, activation, at in ((self.inner, self.drive, n - 1), (self.outer, self.sent, n - 2)):
            if at <= 0 or at >= steps:
                neurons.rest()
            if 0 <= at < steps:
                neurons.advance(activation)
        z = self.inner.z
        self.fired.append(z)
        self.counted.append(self.outer.z)
        self.drive, self.sent = self.forward @ x + self.inhibition @ z, self.votes @ z
        change, self.memory = weight_change(
            self.program.rule,
            x.reshape(1, 1, -1),
            z.reshape(1, 1, -1),
            weights=self.forward,
            constants=_constants(self.program.rule.constants, self.features),
            before=self.memory,
        )
        if self.features.forward.plastic:
            self.forward = self.forward + change

    def settle(self) -> None:
        """Move the thresholds after a sample's last spikes."""
        homeostasis = self.features.homeostasis
        risen = self.inner.threshold + homeostasis.rise * torch.stack(self.fired).sum(0) - homeostasis.fall
        self.inner.threshold = risen.clamp(min=homeostasis.least)

    def reward(self, label: int) -> None:
        """Change the output's weights by what its table says of the whole sample, then let traces fade in the pause."""
        rule, told, reward = self.program.reward_rule, self.decision(), self.output.reward
        constants = _constants(rule.constants, self.output)
        if self.output.forward.plastic:
            signal = torch.zeros(len(self.fired), 1, self.output.size, dtype=torch.float64)
            size = reward.reward if told == label else -reward.punishment
            signal[-1, 0, told] = 2.0**reward.exponent * size
            change, self.trace = weight_change(
                rule,
                torch.stack(self.fired)[:, None],
                torch.stack(self.counted)[:, None],
                signal=signal,
                constants=constants,
                before=self.trace | {"e": torch.zeros(())},
            )
            self.votes = self.votes + change
        silence = torch.zeros(1, 1, self.features.size), torch.zeros(1, 1, self.output.size)
        for _ in range(self.program.pause - 1):
            _, self.trace = weight_change(rule, *silence, constants=constants, before=self.trace)


def _constants(names: tuple[str, ...], population: Features | Output) -> dict[str, float]:
    return {name: population.pairing.constants[name] for name in names}
