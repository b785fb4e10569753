"""Small random networks for the tests of learning rules, and autograd oracles written out plainly, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from neurodeploy.ir.network import Network
from neurodeploy.ir.nodes import Adaptation, Input, InputKind
from neurodeploy.learning.architectures import Neurons, build
from neurodeploy.learning.surrogates import Surrogate, triangle

STEPS, SAMPLES, INPUTS, CLASSES = 30, 4, 6, 4
THRESHOLD = float(np.float32(0.62))


def network(arch: str = "7", *, adaptive: bool = False, alpha: float | None = None, gain: float = 3.0) -> Network:
    """Return INPUTS-`arch`-CLASSES with beta 0.95; `adaptive` gives the first layer an adapting threshold."""
    neurons = Neurons(beta=0.95, threshold=THRESHOLD, alpha=alpha)
    found = build(arch, Input((INPUTS,), InputKind.SPIKES), CLASSES, neurons, seed=5, gain=gain)
    if adaptive:
        lif = found.populations["lif1"]
        strength = np.where(np.arange(lif.size) < 3, 0.0, 0.3)
        lif = replace(lif, adaptation=Adaptation(np.array(0.97), strength))
        found = replace(found, nodes=found.nodes | {"lif1": lif})
    return found


def spikes(seed: int = 0, rate: float = 0.3) -> Tensor:
    return (torch.rand(STEPS, SAMPLES, INPUTS, generator=torch.Generator().manual_seed(seed)) < rate).double()


def labels(seed: int = 1) -> Tensor:
    return torch.randint(0, CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(seed))


class Fire(torch.autograd.Function):
    """[u > 0] with `psi` as derivative; written again here, so that the oracle is not the code under test."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, psi: Surrogate, threshold: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.psi, ctx.threshold = psi, threshold
        return (u > 0).double()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (u,) = ctx.saved_tensors
        return gradient * ctx.psi(u, torch.tensor(ctx.threshold, dtype=u.dtype)), None, None


def hidden_layer(
    x: Tensor,
    w: Tensor,
    v: Tensor | None,
    *,
    beta: float,
    rho: float = 0.0,
    strength: Tensor | None = None,
    stop: str = "recurrence and reset",
    refractory: int = 1,
    psi: Surrogate = triangle,
) -> dict[str, Tensor]:
    """Simulate one layer of LIF or ALIF neurons with a tape, as Bellec et al. 2020 write it.

    stop: where no gradient flows: "recurrence and reset", "reset" or "nothing".
    """
    n = len(w)
    mask = 1 - torch.eye(n).double()
    membrane, spike, a = (torch.zeros(x.shape[1], n).double() for _ in range(3))
    resting = torch.zeros(x.shape[1], n).double()
    record: dict[str, list[Tensor]] = {name: [] for name in ("z", "u", "refractory", "before")}
    for now in x:
        back = spike.detach() if stop == "recurrence and reset" else spike
        reset = spike if stop == "nothing" else spike.detach()
        record["before"].append(spike.detach())
        if strength is not None:
            a = rho * a + spike
        membrane = beta * membrane + now @ w.T - THRESHOLD * reset
        if v is not None:
            membrane = membrane + back @ (v * mask).T
        u = membrane - THRESHOLD - (0 if strength is None else strength * a)
        blocked = resting > 0
        spike = torch.where(blocked, torch.zeros_like(u), Fire.apply(u, psi, THRESHOLD))
        resting = (resting + refractory * spike.detach() - 1).clamp(0, refractory)
        record["z"].append(spike)
        record["u"].append(u)
        record["refractory"].append(blocked.double())
    return {name: torch.stack(values) for name, values in record.items()}


def leaky_readout(z: Tensor, w: Tensor, b: Tensor, kappa: float) -> Tensor:
    """Return y (step, sample, class): y = kappa y' + W z + b."""
    y, out = torch.zeros(z.shape[1], len(w)).double(), []
    for now in z:
        y = kappa * y + now @ w.T + b
        out.append(y)
    return torch.stack(out)


def summed_cross_entropy(y: Tensor, target: Tensor) -> Tensor:
    return cross_entropy(y.flatten(0, 1), target.repeat(len(y)), reduction="sum")


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the largest deviation relative to the largest expected value; the gradient must not be zero."""
    assert float(expected.abs().max()) > 1e-6
    return float((found - expected).abs().max() / expected.abs().max())


def lively(z: Tensor) -> bool:
    """Whether the spikes are neither too few nor too many for a test to mean something."""
    return 0.03 < float(z.detach().mean()) < 0.6
