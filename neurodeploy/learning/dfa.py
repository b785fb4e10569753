"""Direct feedback alignment: every hidden layer hears the output's error directly, through its own random matrix.

    delta(t) = dE/di_out(t)                  the error at the output's input current, by its own temporal recursion
    dE/ds_l(t) := B_l^T delta(t)             for every hidden layer l, instead of what comes back from layer l + 1

Each layer's own recursion through time is BPTT's. With one hidden layer and the same B it is FA. Nokland 2016.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from neurodeploy.ir.network import Network
from neurodeploy.learning.bptt import BPTT, Options


class DFA(BPTT):
    """Direct feedback alignment on a `Net`; `feedback` holds B (class, neuron) per hidden layer."""

    def __init__(self, network: Network, options: Options, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(network, options, seed, dtype)
        classes = self.net.output.shape[0]
        self.feedback = {}
        for layer in list(self.net)[:-1]:
            size = layer.rest(1).spikes[0].numel()
            reach = size**-0.5
            draw = torch.rand(classes, size, generator=self.random, dtype=dtype)
            self.feedback[layer.name] = (2 * draw - 1) * reach

    def backward(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        samples, heard = inputs.shape[1], []
        x = inputs
        for layer in list(self.net)[:-1]:
            stretch, _ = layer.run(layer.drive(x), layer.rest(samples), self.fire)
            heard.append(stretch.spikes)
            x = stretch.spikes.detach()
        output = self.net.output
        drive = output.drive(x)
        drive.retain_grad()
        counts = output.run(drive, output.rest(samples), self.fire)[0].spikes.sum(0)
        loss = self.loss(counts, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        delta = drive.grad
        assert delta is not None
        for spikes, feedback in zip(heard, self.feedback.values(), strict=True):
            spikes.backward((delta @ feedback).reshape(spikes.shape))
        return counts.detach(), float(loss.detach())

    def state(self) -> dict[str, Any]:
        return super().state() | {"feedback": self.feedback}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.feedback = state["feedback"]
