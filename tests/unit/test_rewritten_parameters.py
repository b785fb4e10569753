"""A forward pass that changes a weight or a neuron's parameter computes another network each step, and is refused."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy.errors import UnsupportedError
from neurodeploy.frontends.recording import record


class Net(nn.Module):
    """One layer whose forward pass calls `meddle` between the steps."""

    def __init__(self, meddle) -> None:
        super().__init__()
        self.meddle = meddle
        self.fc = nn.Linear(6, 5)
        self.lif = snn.Leaky(beta=0.9, learn_threshold=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mem = self.lif.init_leaky()
        spikes = []
        for step in range(4):
            spk, mem = self.lif(self.fc(x), mem)
            spikes.append(spk)
            self.meddle(self, step, spk)
        return torch.stack(spikes)


def adapt(net: Net, step: int, spk: torch.Tensor) -> None:
    net.lif.threshold.data += 0.2


def decay_beta(net: Net, step: int, spk: torch.Tensor) -> None:
    net.lif.beta *= 0.8


def decay_weight(net: Net, step: int, spk: torch.Tensor) -> None:
    net.fc.weight.data *= 0.9


def there_and_back(net: Net, step: int, spk: torch.Tensor) -> None:
    net.lif.threshold.data.fill_(2.0 if step == 1 else 1.0)


def reset_otherwise(net: Net, step: int, spk: torch.Tensor) -> None:
    net.lif.reset_mechanism = "zero"


@pytest.mark.parametrize(
    ("meddle", "what"),
    [
        (adapt, "threshold"),
        (decay_beta, "beta"),
        (decay_weight, "weight"),
        (there_and_back, "threshold"),
        (reset_otherwise, "reset_mechanism"),
    ],
)
def test_what_changes_while_it_runs_is_refused_by_name(meddle, what: str) -> None:
    with pytest.raises(UnsupportedError, match=f"ND029.*{what}"):
        record(Net(meddle), torch.rand(3, 6))


def test_constant_parameters_are_recorded() -> None:
    """Learned ones included."""
    network = record(Net(lambda *_: None), torch.rand(3, 6))
    assert float(network.populations["lif"].threshold) == 1.0
