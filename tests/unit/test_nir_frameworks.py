"""Through NIR: what SpikingJelly, Norse and sinabs export, read with the settings stated here, fires their spikes.

A NIR file leaves open how a neuron steps. The settings below are what a user has to state for each package's own
exporter; everything else is the reader's default or known by the writer's numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neurodeploy.errors import NeurodeployError
from neurodeploy.frontends.nir import load_nir
from neurodeploy.frontends.source import run_source

STEPS, SAMPLES, FEATURES, WIDTH, OUT = 20, 5, 6, 8, 4
Exported = tuple[Any, Callable[[Tensor], Tensor]]
"""A NIR graph, and the spikes of the module that it was made of, steps first."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def layers(grid: float = 0.125, scale: float = 1.0) -> tuple[nn.Linear, nn.Linear]:
    """Return two layers with weights on a grid, so that membranes meet thresholds exactly where nothing is rounded."""
    made = nn.Linear(FEATURES, WIDTH), nn.Linear(WIDTH, OUT)
    for layer in made:
        layer.weight.data = ((torch.rand_like(layer.weight) * 1.2 - 0.4) * scale / grid).round() * grid
        layer.bias.data = ((torch.rand_like(layer.bias) * 0.4 - 0.1) * scale / grid).round() * grid
    return made


def from_spikingjelly(kind: str) -> Exported:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason="spikingjelly is not installed")
    pytest.importorskip("nirtorch", reason="nirtorch is not installed")
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based.nir_exchange.to_nir import export_to_nir

    makers = {
        "IFNode": neuron.IFNode,
        "LIFNode": lambda: neuron.LIFNode(tau=2.0, decay_input=False),
        "LIFNode decayed": lambda: neuron.LIFNode(tau=2.0, v_threshold=0.5),
        "ParametricLIFNode decayed": lambda: neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.5),
        "IFNode and LIFNode": lambda: neuron.LIFNode(tau=3.0, v_reset=-0.5),
    }
    first, second = layers()
    last = neuron.IFNode if "and" in kind else makers[kind]
    net = nn.Sequential(first, makers[kind](), second, last())
    graph = export_to_nir(net, torch.zeros(1, FEATURES))

    def run(x: Tensor) -> Tensor:
        functional.reset_net(net)
        return torch.stack([net(part) for part in x])

    return graph, run


def from_norse(kind: str) -> Exported:
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    pytest.importorskip("nirtorch", reason="nirtorch is not installed")
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.utils.export_nir import to_nir

    def cell(size: int) -> nn.Module:
        voltages = {"v_th": torch.full((size,), 0.5), "v_reset": torch.zeros(size)}
        times = {"tau_mem_inv": torch.full((size,), 300.0), "v_leak": torch.zeros(size)}
        if kind == "IAFCell":
            return norse.IAFCell(IAFParameters(**voltages))
        if kind == "LIFBoxCell":
            return norse.LIFBoxCell(LIFBoxParameters(**voltages, **times))
        return norse.LIFCell(norse.LIFParameters(tau_syn_inv=torch.full((size,), 200.0), **voltages, **times))

    first, second = layers(scale=1.0 if kind != "LIFBoxCell" else 2.0)
    net = norse.SequentialState(first, cell(WIDTH), second, cell(OUT))
    graph = to_nir(net, torch.zeros(FEATURES), dt=1.0)
    return graph, lambda x: norse.Lift(net)(x)[0]


def from_sinabs(kind: str, single: bool = False, **settings: Any) -> Exported:
    pytest.importorskip("sinabs", reason="sinabs is not installed")
    pytest.importorskip("nirtorch", reason="nirtorch is not installed")
    from sinabs import activation, reset_states
    from sinabs import layers as of_sinabs
    from sinabs.nir import to_nir

    def neuron(size: int) -> nn.Module:
        given = {"spike_threshold": torch.ones(size), "batch_size": SAMPLES, **settings}
        given |= {"spike_fn": activation.SingleSpike} if single else {}
        if kind == "IAF":
            return of_sinabs.IAFSqueeze(**given)
        normalized = kind == "LIF normalized"
        return of_sinabs.LIFSqueeze(tau_mem=torch.full((size,), 5.0), norm_input=normalized, **given)

    first, second = layers(scale=4.0 if kind == "LIF normalized" else 1.0)
    net = nn.Sequential(first, neuron(WIDTH), second, neuron(OUT))
    graph = to_nir(net, torch.zeros(SAMPLES, FEATURES))

    def run(x: Tensor) -> Tensor:
        reset_states(net)
        return net(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (SAMPLES, STEPS)).transpose(0, 1)

    return graph, run


REACHED = {"firing": "reached"}
SUBTRACTS = {"reset": "subtract_at_once", "firing": "multiple"}
STEPPED = SUBTRACTS | {"discretization": "exponential"}
EXPORTS: dict[str, tuple[Callable[[], Exported], float | None, dict[str, str]]] = {
    "SpikingJelly IFNode": (lambda: from_spikingjelly("IFNode"), None, REACHED),
    "SpikingJelly LIFNode": (lambda: from_spikingjelly("LIFNode"), None, REACHED),
    "SpikingJelly LIFNode decayed": (lambda: from_spikingjelly("LIFNode decayed"), 1e-4, REACHED),
    "SpikingJelly ParametricLIFNode": (lambda: from_spikingjelly("ParametricLIFNode decayed"), 1e-4, REACHED),
    "SpikingJelly both": (
        lambda: from_spikingjelly("IFNode and LIFNode"),
        1e-4,
        REACHED | {"start": "reset"},
    ),
    "Norse IAFCell": (lambda: from_norse("IAFCell"), None, {}),
    "Norse LIFBoxCell": (lambda: from_norse("LIFBoxCell"), 1e-3, {}),
    "Norse LIFCell": (lambda: from_norse("LIFCell"), 1e-3, {"gain": "membrane"}),
    "sinabs IAF": (lambda: from_sinabs("IAF"), None, SUBTRACTS),
    "sinabs IAF with a floor": (
        lambda: from_sinabs("IAF", min_v_mem=-0.5),
        None,
        SUBTRACTS | {"floor": "-0.5"},
    ),
    "sinabs IAF firing once": (lambda: from_sinabs("IAF", single=True), None, SUBTRACTS | REACHED),
    "sinabs LIF": (lambda: from_sinabs("LIF"), 1.0, STEPPED | {"gain": "unit"}),
    "sinabs LIF normalized": (lambda: from_sinabs("LIF normalized"), 1.0, STEPPED),
}


def compared(name: str, tmp_path: Path, dropped: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Return the output spikes of a package and of its export as it is read here, without the setting `dropped`."""
    make, dt, settings = EXPORTS[name]
    graph, run = make()
    nir.write(tmp_path / "net.nir", graph)
    x = (torch.rand(STEPS, SAMPLES, FEATURES) < 0.5).float()
    with torch.no_grad():
        expected = run(x).numpy()
    stated = {key: value for key, value in settings.items() if key != dropped}
    network = load_nir(tmp_path / "net.nir", dt, semantics=stated)
    return expected, run_source(network, x.numpy()).spikes[network.output]


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_fires_as_the_module_it_was_made_of(name: str, tmp_path: Path) -> None:
    expected, found = compared(name, tmp_path)
    assert 0.05 < (expected > 0).mean() < 0.95
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("name", "setting"),
    [(name, setting) for name, (_, _, settings) in EXPORTS.items() for setting in settings],
)
def test_each_of_the_settings_is_needed(name: str, setting: str, tmp_path: Path) -> None:
    """Without it the reader refuses the file, or its spikes are others."""
    try:
        expected, found = compared(name, tmp_path, dropped=setting)
    except NeurodeployError:
        return
    assert not np.array_equal(found, expected)
