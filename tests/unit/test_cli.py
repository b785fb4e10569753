"""The command line keeps its word: verbs, exit codes, one JSON object and nothing else, quick help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from snntorch import Leaky
from torch import nn

from neurodeploy import cli, pipeline
from neurodeploy.artifact import load_artifact, save_artifact
from neurodeploy.backends import loihi2
from neurodeploy.backends.loihi2 import lava_compat
from neurodeploy.errors import Finding
from neurodeploy.frontends.checkpoint import save_network
from neurodeploy.ir.network import Edge, Network
from neurodeploy.ir.nodes import LIF, Input, InputKind, Linear, Reset

STEPS, SAMPLES, CLASSES = 6, 4, 10
RUN = sys.modules["neurodeploy.backends.loihi2.run"]
"""The module, which its package hides behind the function of the same name."""
VERBS = (
    "train",
    "benchmark",
    "save",
    "compile",
    "run",
    "verify",
    "learn",
    "evaluate",
    "report",
    "emit",
    "map",
    "export",
    "inspect",
    "infer-semantics",
    "targets",
    "explain",
)


def network(inputs: int = 64, hidden: int = 12) -> Network:
    """Return a small network with a recurrent output, fed with currents."""
    rng = np.random.default_rng(1)
    return Network(
        {
            "in": Input((inputs,), InputKind.GRADED, 0, 1, 16),
            "fc1": Linear(rng.normal(0, 0.3, (hidden, inputs)), rng.normal(0, 0.1, hidden)),
            "lif1": LIF((hidden,), np.array(0.9), np.array(1.0), Reset.SUBTRACT_NEXT_STEP),
            "fc2": Linear(rng.normal(0, 0.5, (CLASSES, hidden))),
            "back": Linear(rng.normal(0, 0.1, (CLASSES, CLASSES))),
            "lif2": LIF((CLASSES,), np.array(0.8), np.array(1.0), Reset.ZERO_NEXT_STEP),
        },
        (
            Edge("in", "fc1"),
            Edge("fc1", "lif1"),
            Edge("lif1", "fc2"),
            Edge("fc2", "lif2"),
            Edge("lif2", "back", 1),
            Edge("back", "lif2"),
        ),
        "in",
        "lif2",
        1e-3,
        encoding={"kind": "direct", "steps": STEPS, "seed": 0, "threshold": None},
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with model.pt, its artefact model.ndc and data.npz."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NEURODEPLOY_DEBUG", raising=False)
    save_network(network(), "model.pt")
    save_artifact(pipeline.compile(network(), "loihi2-sim"), "model.ndc")
    rng = np.random.default_rng(2)
    inputs = rng.integers(0, 17, (STEPS, SAMPLES, 64)) / 16
    np.savez("data.npz", inputs=inputs, labels=rng.integers(0, CLASSES, SAMPLES))
    Path("net.py").write_text(NET)
    module = nn.Sequential()
    module.fc, module.lif = nn.Linear(6, 3), Leaky(beta=0.9)
    torch.save(module.state_dict(), "state.pt")
    return tmp_path


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Return a function from a command line to its exit code, standard output and standard error."""

    def call(line: str, *more: str) -> tuple[int, str, str]:
        code = cli.main([*line.split(), *more])
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


COMMANDS = {
    "train": "train --rule bptt --dataset digits -o model.pt",
    "benchmark": "benchmark --rule bptt --arch 8 --epochs 1 --experiment deployment --workers 1 -o results",
    "save": "save --module net.py:Net --state state.pt --input-shape 6 -o saved.pt",
    "compile": "compile model.pt --target loihi2-sim",
    "run": "run model.ndc --on engine --data data.npz",
    "verify": "verify model.ndc --against engine --data data.npz",
    "verify source": "verify model.ndc --against source --data data.npz",
    "evaluate": "evaluate model.ndc --on engine --data data.npz",
    "evaluate neurobench": "evaluate model.ndc --neurobench --batch 3 --data data.npz",
    "inspect artefact": "inspect model.ndc",
    "inspect model": "inspect model.pt",
    "targets": "targets",
    "target": "targets loihi2-sim",
    "explain": "explain ND107",
}


@pytest.mark.parametrize("line", COMMANDS.values(), ids=COMMANDS)
def test_every_verb_answers_in_text_and_in_json(call: Call, line: str) -> None:
    """Text has no escape codes when it is not a terminal; --json prints one object, and both end with 0."""
    code, out, _ = call(line)
    assert code == 0
    assert out.strip()
    assert "\x1b" not in out
    code, out, _ = call(f"{line} --json")
    assert code == 0
    assert isinstance(json.loads(out), dict)


def test_compile_needs_no_option_but_the_target(call: Call, here: Path) -> None:
    """The artefact is the model's stem with .ndc, in the current directory, whatever the model's folder."""
    (here / "elsewhere").mkdir()
    os.rename("model.pt", "elsewhere/net.v2.pt")
    code, out, _ = call("compile elsewhere/net.v2.pt --target loihi2-sim --json")
    assert (code, json.loads(out)["artifact"]) == (0, "net.v2.ndc")
    assert load_artifact(here / "net.v2.ndc").fingerprint == json.loads(out)["fingerprint"]


def test_compile_says_everything_that_changed(call: Call) -> None:
    _, out, _ = call("compile model.pt --target loihi2-sim")
    for deviation in load_artifact("model.ndc").program.deviations:
        assert deviation.code in out
    assert "model.ndc" in out


NET = """
import torch, snntorch
from torch import nn
print("a user's file may print")
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.lif = snntorch.Leaky(beta=0.9)
    def forward(self, x):
        mem = self.lif.reset_mem()
        out = []
        for step in x:
            spikes, mem = self.lif(self.fc(step), mem)
            out.append(spikes)
        return torch.stack(out)
"""


def test_a_class_and_its_weights(call: Call, here: Path) -> None:
    """compile net.py:Net --weights; what the user's file prints does not reach standard output."""
    code, out, err = call("compile net.py:Net --weights state.pt --example-shape 6 --target loihi2-sim --json")
    assert code == 0, err
    assert json.loads(out)["artifact"] == "net.ndc"
    assert "a user's file may print" in err


def test_save_writes_the_module_as_a_model_file(call: Call) -> None:
    """It says what was recorded of what and what comes next, and the file compiles without net.py."""
    line = "save --module net.py:Net --state state.pt --input-shape 6 --dt 0.002 --encoding rate --steps 7 -o saved.pt"
    code, out, err = call(line)
    assert code == 0, err
    assert 'recorded  lif <- snntorch.Leaky "net.lif"' in out
    assert out.endswith("next      neurodeploy compile saved.pt --target loihi2-sim\n")
    answer = json.loads(call(f"{line} --json")[1])
    assert (answer["model"], answer["dt_s"], answer["encoding"]["steps"]) == ("saved.pt", 0.002, 7)
    os.unlink("net.py")
    assert call("compile saved.pt --target loihi2-sim")[0] == 0


def test_save_learns_the_levels_of_graded_input_from_data(call: Call) -> None:
    """Fifths up to 1.2; without data the input is spikes."""
    line = "save --module net.py:Net --state state.pt --input-shape 6 --json"
    assert json.loads(call(line)[1])["input"]["kind"] == "spikes"
    np.savez("graded.npz", inputs=np.random.default_rng(0).integers(0, 7, (STEPS, SAMPLES, 6)) / 5)
    read = json.loads(call(f"{line} --data graded.npz")[1])["input"]
    assert (read["kind"], read["low"], read["high"], read["levels"]) == ("graded", 0.0, pytest.approx(1.2), 6)


def test_save_is_whole_or_not_at_all(call: Call) -> None:
    """A module that cannot be recorded, or data that do not fit, leave the old file as it was."""
    before, kept = set(os.listdir()), Path("model.pt").read_bytes()
    for more in ("--input-shape 5", "--input-shape 6 --data data.npz"):
        assert call(f"save --module net.py:Net --state state.pt {more}")[0] in (2, 3)
    assert set(os.listdir()) - {"__pycache__"} == before
    assert Path("model.pt").read_bytes() == kept


def test_save_does_not_write_over_what_it_reads(call: Call) -> None:
    for source in ("state.pt", "net.py"):
        kept = Path(source).read_bytes()
        code, _, err = call(f"save --module net.py:Net --state state.pt --input-shape 6 -o ./{source}")
        assert (code, "ND175" in err) == (2, True)
        assert Path(source).read_bytes() == kept


def test_what_was_allowed_is_on_every_report(call: Call) -> None:
    """A substitution is refused with its code, and once allowed it is named by every verb that judges the model."""
    module = nn.Sequential(nn.Linear(64, 5), Leaky(beta=0.9))
    torch.save(module.state_dict(), "bare.pt")
    code, _, err = call("compile bare.pt --target loihi2-sim --steps 6")
    assert (code, "--allow ND020" in err) == (3, True)
    assert "SUBSTITUTED [ND020]" in call("compile bare.pt --target loihi2-sim --steps 6 --allow ND020")[1]
    np.savez("spikes.npz", inputs=np.random.default_rng(3).integers(0, 2, (STEPS, SAMPLES, 64)))
    for verb in ("run", "verify --against engine", "evaluate"):
        name, _, option = verb.partition(" ")
        line = f"{name} bare.ndc {option} --data spikes.npz"
        assert "ND020" in call(line)[1]
        assert json.loads(call(f"{line} --json")[1])["substitutions"] == ["ND020"]


@pytest.mark.parametrize(("text", "shape"), [("784", (784,)), ("1x28x28", (1, 28, 28)), ("1,28, 28", (1, 28, 28))])
def test_example_shapes(text: str, shape: tuple[int, ...]) -> None:
    assert cli._shape(text) == shape


def test_run_writes_what_it_promises(call: Call, here: Path) -> None:
    """result.npz: output_spikes, predictions, every population, and states as NAME.u and NAME.v; nothing else stays."""
    before = set(os.listdir())
    code, out, _ = call("run model.ndc --data data.npz --limit 3 --record-states -o out/result.npz --json")
    answer = json.loads(out)
    assert (code, answer["samples"], answer["result"]) == (0, 3, "out/result.npz")
    with np.load("out/result.npz", allow_pickle=False) as result:
        arrays = {name: result[name] for name in result.files}
    states = {"lif1.u", "lif1.v", "lif2.u", "lif2.v"}
    assert arrays.keys() == {"output_spikes", "predictions", "lif1", "lif2"} | states
    assert arrays["output_spikes"].shape == (STEPS, 3, CLASSES)
    assert arrays["lif1.v"].shape == (STEPS, 3, 12)
    np.testing.assert_array_equal(arrays["output_spikes"], arrays["lif2"])
    np.testing.assert_array_equal(arrays["predictions"], answer["predictions"])
    assert set(os.listdir()) - before == {"out"}
    assert os.listdir("out") == ["result.npz"]


def test_run_leaves_nothing_where_it_cannot_write(call: Call) -> None:
    Path("file").write_text("in the way")
    code, _, err = call("run model.ndc --data data.npz -o file/result.npz")
    assert (code, "ND407" in err) == (2, True)
    assert Path("file").read_text() == "in the way"


def test_verify_json_and_certificate(call: Call) -> None:
    """equal, compared, mismatches and first_divergence; the certificate goes into the artefact and shows in inspect."""
    code, out, _ = call("verify model.ndc --against engine --data data.npz --limit 2 --json")
    certificate = json.loads(out)
    assert code == 0
    assert (certificate["equal"], certificate["first_divergence"]) == (True, None)
    assert certificate["compared"]["lif1"] == dict.fromkeys(("spikes", "currents", "voltages"), STEPS * 2 * 12)
    assert certificate["mismatches"]["lif2"] == {"spikes": 0, "currents": 0, "voltages": 0}
    assert certificate.pop("substitutions") == []
    assert load_artifact("model.ndc").certificates == (certificate,)
    assert "engine (reference)" in call("inspect model.ndc")[1]


def test_verify_finds_a_flipped_bit(call: Call) -> None:
    """Exit code 5, in JSON beside the certificate; the failed certificate stays in the artefact."""
    model = load_artifact("model.ndc")
    first, *others = model.program.projections
    mantissa = first.synapses.mantissa.copy()
    mantissa[0, 0] ^= 1
    broken = replace(first, synapses=replace(first.synapses, mantissa=mantissa))
    save_artifact(replace(model, program=replace(model.program, projections=(broken, *others))), "model.ndc")
    code, out, _ = call("verify model.ndc --against source --data data.npz --json")
    answer = json.loads(out)
    assert code == 5
    assert answer["error"]["code"] == "ND404"
    assert not answer["verified"]
    assert not load_artifact("model.ndc").certificates[-1]["verified"]
    code, out, err = call("verify model.ndc --against source --data data.npz")
    assert (code, "NOT verified" in out, "error[ND404]" in err) == (5, True, True)


@pytest.mark.parametrize(
    ("inputs", "encoding", "data"),
    [(64, "direct", "digits"), (784, "rate", "mnist"), (28, "rows", "mnist"), (8, "rows", "digits")],
)
def test_verify_knows_the_usual_data(inputs: int, encoding: str, data: str) -> None:
    model = pipeline.compile(replace(network(inputs), encoding={"kind": encoding, "steps": STEPS}), "loihi2-sim")
    assert cli._usual_data(model) == data


def test_verify_asks_for_data_it_cannot_guess(call: Call) -> None:
    save_artifact(pipeline.compile(network(17), "loihi2-sim"), "odd.ndc")
    code, _, err = call("verify odd.ndc --against engine")
    assert (code, "ND405" in err) == (2, True)


def test_evaluate_takes_the_usual_data_and_says_so(call: Call) -> None:
    """Without --data the first 200 digits for 64 inputs, as verify does; with it everything, or --limit."""
    code, out, err = call("evaluate model.ndc --json")
    answer = json.loads(out)
    assert (code, answer["data"], answer["samples"]) == (0, "digits", 200)
    assert err == "evaluating on digits, 200 samples\n"
    _, out, _ = call("evaluate model.ndc --limit 3 --json")
    assert json.loads(out)["samples"] == 3
    _, out, _ = call("evaluate model.ndc --data data.npz --json")
    assert json.loads(out)["samples"] == SAMPLES


def test_evaluate_neurobench_json(call: Call) -> None:
    """NeuroBench's names, and the table; what the network's origin does not tell is null, with a reason."""
    _, out, _ = call("evaluate model.ndc --data data.npz --neurobench --batch 3 --json")
    answer = json.loads(out)
    found = answer["neurobench"]
    assert (found["definitions"], found["batch"], found["samples"]) == ("NeuroBench 2.3.0", 3, SAMPLES)
    metrics = found["metrics"]
    assert set(metrics["SynapticOperations"]) == {"Effective_MACs", "Effective_ACs", "Dense"}
    assert metrics["Footprint"] is None
    assert "snnTorch" in found["unavailable"]["Footprint"]
    rows = {row["metric"]: row for row in found["on_chip"]}
    assert rows["SynapticOperations"]["chip"] == answer["synops"]
    for row in rows.values():
        assert row["neurobench"] + sum(each["count"] for each in row["differences"]) == row["chip"]
    _, text, _ = call("evaluate model.ndc --data data.npz --neurobench")
    assert "NeuroBench says" in text
    assert "unavailable" in text


def test_evaluate_json(call: Call) -> None:
    """Every metric in total and per layer; totals are sums; energy has value, low, high, status and model."""
    _, out, _ = call("evaluate model.ndc --data data.npz --json")
    answer = json.loads(out)
    layers = answer["layers"]
    assert (answer["samples"], [layer["name"] for layer in layers]) == (SAMPLES, ["lif1", "lif2"])
    for metric in ("spikes", "synops", "neuron_updates"):
        assert answer[metric] == sum(layer[metric] for layer in layers)
    assert answer["neuron_updates"] == STEPS * SAMPLES * (12 + CLASSES)
    assert answer["energy_j"].keys() == {"value", "low", "high", "status", "model"}
    assert answer["energy_j"]["low"] < answer["energy_j"]["value"] < answer["energy_j"]["high"]
    assert answer["energy_j"]["status"] == "estimated"
    assert answer["latency_steps"] == 2
    assert 0 <= answer["accuracy"] <= 1


def test_accuracy_without_labels_is_absent_not_zero(call: Call) -> None:
    with np.load("data.npz") as data:
        np.savez("bare.npz", inputs=data["inputs"])
    assert json.loads(call("evaluate model.ndc --data bare.npz --json")[1])["accuracy"] is None
    assert "unavailable" in call("evaluate model.ndc --data bare.npz")[1]


def test_a_pickled_model_of_other_origin_is_refused(call: Call) -> None:
    torch.save(nn.Linear(2, 2), "pickled.pt")
    assert call("compile pickled.pt --target loihi2-sim")[0] == 3


MISTAKES = {
    "unknown verb": ("deploy model.pt", 2, "ND408"),
    "unknown option": ("run model.ndc --data data.npz --fast", 2, "ND408"),
    "missing option": ("run model.ndc", 2, "ND408"),
    "missing target": ("compile model.pt", 2, "ND408"),
    "batch of nothing": ("evaluate model.ndc --data data.npz --batch 3", 2, "ND408"),
    "limit of zero": ("run model.ndc --data data.npz --limit 0", 2, "ND408"),
    "not a shape": ("compile model.pt --target loihi2-sim --example-shape 7x", 2, "ND408"),
    "unknown executor": ("run model.ndc --data data.npz --on gpu", 2, "ND401"),
    "unknown authority": ("verify model.ndc --data data.npz --against god", 2, "ND401"),
    "unknown code": ("explain ND999", 2, "ND406"),
    "something in the way": ("compile model.pt --target loihi2-sim -o data.npz", 2, "ND410"),
    "unknown target": ("compile model.pt --target loihi9", 3, "ND120"),
    "no such model": ("compile absent.pt --target loihi2-sim", 3, "ND001"),
    "no such artefact": ("run absent.ndc --data data.npz", 3, "ND010"),
    "not an artefact": ("verify model.pt --data data.npz", 3, "ND010"),
    "no such data": ("run model.ndc --data absent.npz", 3, "ND053"),
    "too big": ("compile big.pt --target loihi2-sim", 4, "ND107"),
    "no Lava": ("run model.ndc --on lava --data data.npz", 6, "ND300"),
}


@pytest.mark.parametrize(("line", "expected", "finding"), MISTAKES.values(), ids=MISTAKES)
def test_refusals(call: Call, monkeypatch: pytest.MonkeyPatch, line: str, expected: int, finding: str) -> None:
    """Text: the code and a remedy on standard error. JSON: one object on standard output. One exit code for both."""
    missing = Finding("ND300", "lava-nc", "lava-nc is not installed", "the simulator runs it", lava_compat.INSTALL)
    monkeypatch.setattr(RUN, "availability", lambda: missing)
    save_network(network(inputs=5000), "big.pt")
    code, out, err = call(line)
    assert (code, out) == (expected, "")
    assert f"error[{finding}]" in err
    assert "  fix   " in err
    code, out, _ = call(f"{line} --json")
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (expected, finding)
    assert all(found.keys() == {"code", "place", "what", "why", "fix"} for found in error["findings"])


def test_what_does_not_fit_comes_with_the_table(call: Call) -> None:
    save_network(network(inputs=5000), "big.pt")
    error = json.loads(call("compile big.pt --target loihi2-sim --json")[1])["error"]
    assert {row["population"] for row in error["details"]["utilization"]} == {"lif2"}


def fail(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a defect")


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_a_defect_is_owned_up_to(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 with the place and how to report; the traceback only with NEURODEPLOY_DEBUG."""
    monkeypatch.setattr(pipeline, "run", fail)
    code, out, err = call("run model.ndc --data data.npz")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError: a defect" in err
    assert "in fail" in err
    assert json.loads(call("run model.ndc --data data.npz --json")[1])["error"]["code"] == "ND429"
    monkeypatch.setenv("NEURODEPLOY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        call("run model.ndc --data data.npz")


def test_an_interruption_is_one_line(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "run", interrupt)
    code, out, err = call("run model.ndc --data data.npz")
    assert (code, out, err.strip()) == (130, "", "interrupted")


def test_targets_says_how_to_mend_what_is_missing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Finding("ND300", "lava-nc", "lava-nc is not installed", "the simulator runs it", lava_compat.INSTALL)
    monkeypatch.setattr(loihi2, "availability", lambda: missing)
    assert lava_compat.INSTALL in call("targets")[1]
    executors = json.loads(call("targets --json")[1])["targets"][0]["executors"]
    assert {executor["name"]: executor["available"] for executor in executors} == {
        "engine": True,
        "lava": False,
        "lava-models": False,
    }


def test_the_verbs_are_the_promised_ones(call: Call) -> None:
    assert {command.name or command.callback.__name__ for command in cli.app.registered_commands} == set(VERBS)
    assert cli.VERBS == VERBS


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help(call: Call, verb: str) -> None:
    code, out, _ = call(f"{verb} --help")
    assert (code, "Usage: neurodeploy" in out) == (0, True)


def test_no_argument_is_a_call_for_help(call: Call) -> None:
    code, out, _ = call("")
    assert (code, "Commands:" in out) == (0, True)


def test_help_imports_nothing_heavy() -> None:
    """--help is quick because it imports little: no array, no network, no table."""
    command = [sys.executable, "-X", "importtime", "-m", "neurodeploy", "--help"]
    trace = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in trace.splitlines()}
    assert "typer" in imported
    assert not imported & {"numpy", "scipy", "torch", "snntorch", "numba", "lava", "sklearn", "rich"}


def test_a_closed_pipe_is_quiet(here: Path) -> None:
    """`neurodeploy targets NAME | head -1` prints no traceback."""
    command = [sys.executable, "-m", "neurodeploy", "targets", "loihi2-sim"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
