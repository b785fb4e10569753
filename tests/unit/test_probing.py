"""What attacks and measures are given is what the network does, sample by sample."""

from __future__ import annotations

import numpy as np
import snntorch
import torch
from torch.nn.functional import cross_entropy

from neurodeploy.frontends.source import run_source
from neurodeploy.learning.bptt import BPTT, Options
from neurodeploy.learning.probing import Probe
from tests.unit.learning_networks import CLASSES, SAMPLES, labels, network, spikes

X, Y = spikes().numpy(), labels().numpy()


def test_decisions_and_probabilities_are_those_of_the_spike_counts() -> None:
    net = network("8r-7")
    probe = Probe(net, gain=0.5)
    counts = run_source(net, X).spikes[net.output].sum(0)
    expected = np.exp(0.5 * counts) / np.exp(0.5 * counts).sum(1, keepdims=True)
    assert np.allclose(probe.probabilities(X), expected, rtol=1e-6)
    assert (probe.predict(X) == counts.argmax(1)).all()
    assert np.allclose(probe.loss(X, Y), -np.log(expected[np.arange(SAMPLES), Y]), rtol=1e-5)
    assert probe.activity(X)["lif1"].shape == (30, SAMPLES, 8)


def test_the_inputs_gradient_is_snntorchs() -> None:
    """Of each sample's own loss, through snnTorch's default surrogate."""
    net = network("7")
    first, second = net.nodes["fc1"], net.nodes["fc2"]
    w1, b1, w2, b2 = (
        torch.tensor(a, dtype=torch.float32) for a in (first.weight, first.bias, second.weight, second.bias)
    )
    lif = net.populations["lif1"]
    inner, outer = (snntorch.Leaky(beta=float(lif.beta), threshold=float(lif.threshold)) for _ in range(2))
    x = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    mem1, mem2 = inner.reset_mem(), outer.reset_mem()
    counts = torch.zeros(SAMPLES, CLASSES)
    for now in x:
        spk, mem1 = inner(now @ w1.T + b1, mem1)
        out, mem2 = outer(spk @ w2.T + b2, mem2)
        counts = counts + out
    cross_entropy(0.5 * counts, torch.tensor(Y), reduction="sum").backward()
    found = Probe(net).gradient(X, Y)
    assert np.abs(found).max() > 1e-3
    assert np.allclose(found, x.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_a_samples_gradient_is_its_own() -> None:
    probe = Probe(network("8r"))
    together = probe.gradient(X, Y)
    alone = np.concatenate([probe.gradient(X[:, k : k + 1], Y[k : k + 1]) for k in range(SAMPLES)], axis=1)
    assert np.allclose(together, alone, rtol=1e-4, atol=1e-7)


def test_weight_gradients_average_to_the_gradient_bptt_learns_by() -> None:
    net = network("8r-7")
    targets = np.eye(CLASSES)[Y]
    each = Probe(net).weight_gradients(X, targets)
    assert all(gradient.shape[0] == SAMPLES for gradient in each.values())
    made = BPTT(net, Options(), seed=0)
    made.backward(spikes().float(), labels())
    expected = {f"{layer.map}.weight": layer.weight.grad for layer in made.net}
    expected["lif1.recurrent"] = made.net.layers[0].recurrent.grad
    assert set(each) == set(expected)
    for name, gradient in each.items():
        assert np.allclose(gradient.mean(0), expected[name].numpy(), rtol=1e-3, atol=1e-6), name
        assert np.abs(gradient).max() > 1e-6
