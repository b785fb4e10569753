"""`neurodeploy save`: a state_dict as published and a class for it become a model file that fires as snnTorch does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy import pipeline
from neurodeploy.artifact import load_artifact
from neurodeploy.cli import main
from neurodeploy.frontends.source import run_source
from tests.cases import case
from tests.conformance.test_nir_cases import BRAILLE, Braille, braille_input

NET = """
import snntorch
import torch
from torch import nn

HIDDEN, BIAS, RESET = {nb_hidden}, {bias}, "{reset}"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(12, HIDDEN, bias=BIAS)
        self.lif1 = snntorch.RSynaptic(alpha={alpha_r}, beta={beta_r}, linear_features=HIDDEN, reset_mechanism=RESET)
        self.lif1.recurrent = nn.Linear(HIDDEN, HIDDEN, bias=BIAS)
        self.fc2 = nn.Linear(HIDDEN, 7, bias=BIAS)
        self.lif2 = snntorch.Synaptic(alpha={alpha_out}, beta={beta_out}, reset_mechanism=RESET)

    def forward(self, x):
        spk1, syn1, mem1 = self.lif1.reset_mem()
        syn2, mem2 = self.lif2.reset_mem()
        output = []
        for step in range(x.shape[0]):
            spk1, syn1, mem1 = self.lif1(self.fc1(x[step]), spk1, syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            output.append(spk2)
        return torch.stack(output)
"""


@pytest.mark.parametrize("tag", BRAILLE)
def test_braille_checkpoints_are_saved_and_compiled(tag: str, tmp_path: Path) -> None:
    """100 samples x 256 steps of random spikes, hidden layer and output; then Loihi's integers, as Lava has them."""
    folder = ("nir_paper", "03_rnn", "data")
    settings = json.loads(case(*folder, f"parameters_{tag}.json").read_text())
    settings |= {"bias": "noBias" not in tag, "reset": tag.rpartition("_")[2]}
    (tmp_path / "net.py").write_text(NET.format(**settings))
    module, saved, compiled = (str(tmp_path / name) for name in ("net.py", "model.pt", "model.ndc"))
    state = str(case(*folder, f"model_{tag}.pt"))
    line = ["save", "--module", f"{module}:Net", "--state", state, "--input-shape", "12", "--dt", "1e-4", "-o", saved]
    assert main(line) == 0
    assert main(["compile", saved, "--target", "loihi2-sim", "-o", compiled]) == 0

    network, inputs = pipeline.load(saved), braille_input()
    assert network.dt_s == 1e-4
    with torch.no_grad():
        hidden, output = Braille(tag)(torch.from_numpy(inputs))
    result = run_source(network, inputs)
    assert hidden.sum() > 3_000
    assert np.array_equal(result.spikes["lif1"], hidden.numpy())
    assert np.array_equal(result.spikes["lif2"], output.numpy())

    model = load_artifact(compiled)
    _, certificate = pipeline.verify(model, pipeline.Samples("random", inputs[:, :2], None), against="lava-models")
    assert certificate["equal"]
