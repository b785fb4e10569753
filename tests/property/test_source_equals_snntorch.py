"""What is recorded from a snnTorch module, run again by `run_source`, fires exactly the module's own spikes."""

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import run_source

STEPS, BATCH, FEATURES, WIDTH = 14, 4, 6, 8
NEURONS = ("Leaky", "Synaptic", "RLeaky", "RLeaky one to one", "RSynaptic", "RSynaptic one to one", "Lapicque")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def neuron(kind: str, shape: tuple[int, ...], reset: str, reset_delay: bool, per_neuron: bool) -> nn.Module:
    """Make a random neuron layer of `shape`; parameters are one number, or one per neuron."""
    size = shape if per_neuron else ()
    name, _, variant = kind.partition(" ")
    settings = {
        "beta": 0.5 + 0.6 * torch.rand(size),
        "threshold": 0.3 + 0.5 * torch.rand(size),
        "reset_mechanism": reset,
        "reset_delay": reset_delay,
    }
    if "Synaptic" in name:
        settings["alpha"] = torch.rand(size)
    if variant:
        settings |= {"all_to_all": False, "V": torch.rand(size) - 0.5}
    elif name.startswith("R"):
        settings["linear_features"] = shape[-1]
    if name == "Lapicque":
        del settings["reset_delay"]
        settings["beta"] = 0.4 + 0.5 * torch.rand(())
    return getattr(snn, name)(**settings)


class Net(nn.Module):
    """Front layers, a neuron under test, a linear layer and a Leaky; the loop hands every state back."""

    def __init__(self, front: nn.Module, tested: nn.Module, width: int) -> None:
        super().__init__()
        self.front, self.tested, self.fc = front, tested, nn.Linear(width, 5)
        self.output = snn.Leaky(beta=0.8, threshold=0.2)

    def forward(self, x):
        states, mem = self.tested.reset_mem(), self.output.reset_mem()
        states = [states] if isinstance(states, torch.Tensor) else states
        hidden, out = [], []
        for x_t in x:
            spikes, *states = self.tested(self.front(x_t), *states)
            states = [spikes, *states] if type(self.tested).__name__.startswith("R") else states
            decision, mem = self.output(self.fc(spikes.flatten(1)), mem)
            hidden.append(spikes)
            out.append(decision)
        return torch.stack(out), torch.stack(hidden)


@torch.no_grad()
def awaken(net: Net, x: torch.Tensor) -> None:
    """Scale both thresholds until each layer fires in 5 to 30 % of neurons and steps, or nearly so."""
    for layer, index in ((net.tested, 1), (net.output, 0)):
        for _ in range(40):
            rate = float(net(x)[index].mean())
            if 0.05 <= rate <= 0.3:
                break
            layer.threshold *= 1.25 if rate > 0.3 else 0.8


def assert_same_spikes(net: Net, x: torch.Tensor) -> None:
    awaken(net, x)
    with torch.no_grad():
        expected = dict(zip(("output", "tested"), net(x), strict=True))
    assert all(0.01 < spikes.mean() < 0.5 for spikes in expected.values())
    result = run_source(record(net, x), x.numpy(), batch=x.shape[1])
    for name, spikes in expected.items():
        np.testing.assert_array_equal(result.spikes[name], spikes.numpy().astype(np.uint8))


PLANS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(NEURONS),
        "reset": st.sampled_from(("subtract", "zero", "none")),
        "reset_delay": st.booleans(),
        "per_neuron": st.booleans(),
        "convolutional": st.booleans(),
        "binary": st.booleans(),
        "seed": st.integers(0, 2**31),
    }
)


def every_kind(test):
    """Let `test` see every neuron with every reset at least once, whatever Hypothesis draws."""
    for kind in NEURONS:
        for reset in ("subtract", "zero", "none"):
            for reset_delay in (True, False):
                if (kind.startswith("RSynaptic") or kind == "Lapicque") and not reset_delay:
                    continue
                plan = {"kind": kind, "reset": reset, "reset_delay": reset_delay, "seed": 7}
                test = example(plan | {"per_neuron": False, "convolutional": False, "binary": True})(test)
    return test


@every_kind
@given(PLANS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_spikes_are_bitwise_those_of_snntorch(plan):
    """For every neuron, reset, reset_delay, dense or convolutional, recurrent or not, driven to fire."""
    kind, seed = plan["kind"], plan["seed"]
    assume(not (kind.startswith("RSynaptic") and not plan["reset_delay"]))
    torch.manual_seed(seed)
    all_to_all = kind in ("RLeaky", "RSynaptic")
    if plan["convolutional"] and not all_to_all:
        shape, width = (2, 4, 4), 32
        front = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.Identity(), nn.Dropout(0.5))
        x = torch.rand(STEPS, BATCH, 1, 8, 8)
    else:
        shape, width = (WIDTH,), WIDTH
        front = nn.Linear(FEATURES, WIDTH)
        x = torch.rand(STEPS, BATCH, FEATURES)
    x = x.round() if plan["binary"] else x
    tested = neuron(kind, shape, plan["reset"], plan["reset_delay"], plan["per_neuron"])
    net = Net(front, tested, width).eval()
    with torch.no_grad():
        for weight in front.parameters():
            weight.add_(0.1)
    assert_same_spikes(net, x)
