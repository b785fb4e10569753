"""Our Lava Processes compute what they say, and what stock LIF and snnTorch compute where those agree."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch
import torch

from neurodeploy.backends.loihi2.processes import Recorder, ResettingLIF, SpikeInput

# isort: split
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset

from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
from neurodeploy.backends.loihi2.recording import Recording

FORGETS = 4095
"""The du register of a current without memory."""


@pytest.fixture(autouse=True)
def one_torch_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def respond(lif, inputs, tag="fixed_pt", back=None):
    """Drive `lif` with `inputs` (step, neuron) and return its spikes (step, neuron)."""
    with registries_restored():
        source = SpikeInput(samples=np.asarray(inputs)[None])
        recorder = Recorder(shape=lif.a_in.shape, steps=len(inputs))
        source.s_out.connect(lif.a_in)
        lif.s_out.connect(recorder.a_in)
        if back is not None:
            loop = Dense(weights=back)
            lif.s_out.connect(loop.s_in)
            loop.a_out.connect(lif.a_in)
        step_models(build_models(source, Loihi2SimCfg(select_tag=tag)), len(inputs))
    return recorder.data


def observe(lif, inputs, dtype=np.int64, tag="fixed_pt"):
    """Drive `lif` with `inputs` (step, neuron) and return its spikes, u and v, each (step, neuron)."""
    rows = (len(inputs), *lif.a_in.shape)
    kept = Recording(1, *(np.zeros(rows, kind) for kind in (np.uint8, dtype, dtype)), np.zeros(1, np.int64))
    lif.proc_params["recording"] = kept
    sent = respond(lif, inputs, tag)
    assert np.array_equal(sent, kept.spikes), "what was recorded is not what was sent"
    return kept.spikes, kept.currents, kept.voltages


def column(*values):
    return np.array(values).reshape(-1, 1)


RESETS = {
    # reset: (v, s) for a constant activation of 6, i.e. u = 384 in every step, against a threshold of 10, i.e. 640
    "none": ([384, 768, 1152, 1536], [0, 1, 1, 1]),
    "zero": ([384, 0, 384, 0], [0, 1, 0, 1]),
    "zero_next_step": ([384, 768, 0, 384, 768, 0], [0, 1, 0, 0, 1, 0]),
    "subtract_next_step": ([384, 768, 512, 896, 640, 1024, 768], [0, 1, 0, 1, 0, 1, 1]),
    "subtract": ([384, 128, 512, 256, 640, 384, 128], [0, 1, 0, 1, 0, 1, 1]),
    "subtract_at_once": ([384, 128, 512, 256, 640, 384, 128], [0, 1, 0, 1, 0, 1, 1]),
}


@pytest.mark.parametrize("reset", RESETS)
def test_each_reset_follows_its_rule_by_hand(reset):
    """The resets give the sequences worked out by hand."""
    v, s = RESETS[reset]
    spikes, _, voltages = observe(
        ResettingLIF(shape=(1,), du=FORGETS, vth=10, reset=reset), np.full((len(v), 1), 6, np.int32)
    )
    assert voltages[:, 0].tolist() == v
    assert spikes[:, 0].tolist() == s


FIRINGS = {
    # firing, most: (s, v) for 250, -50, 200, 0 and -400 without a leak, a threshold of 100 and a floor of -50
    ("above", 1): ([1, 0, 1, 1, 0], [150, 100, 200, 100, -50]),
    ("reached", 1): ([1, 1, 1, 1, 0], [150, 0, 100, 0, -50]),
    ("multiple", 255): ([2, 0, 2, 0, 0], [50, 0, 0, 0, -50]),
    ("multiple", 1): ([1, 1, 1, 1, 0], [150, 0, 100, 0, -50]),
}


@pytest.mark.parametrize(("tag", "unit", "forgets"), [("fixed_pt", 64, FORGETS), ("floating_pt", 1, 1.0)])
@pytest.mark.parametrize(("firing", "most"), FIRINGS)
def test_each_firing_follows_its_rule_by_hand(firing, most, tag, unit, forgets):
    """In integers and in floating point, spikes that count included, and no membrane is left below the floor."""
    spikes, voltages = FIRINGS[firing, most]
    lif = ResettingLIF(shape=(1,), du=forgets, vth=100, reset="subtract_at_once", firing=firing, most=most, floor=-50)
    kind = np.int32 if tag == "fixed_pt" else float
    found, _, v = observe(lif, column(250, -50, 200, 0, -400).astype(kind), float, tag)
    assert (found[:, 0].tolist(), (v[:, 0] / unit).tolist()) == (spikes, voltages)


def test_subtract_gives_the_threshold_back_when_it_does_not_fire():
    """Beyond twice the threshold R is one: a step that fires keeps v, a step that does not adds the threshold again."""
    spikes, _, voltages = observe(
        ResettingLIF(shape=(1,), du=FORGETS, vth=10, reset="subtract"), column(20, 20, 20, -30).astype(np.int32)
    )
    assert voltages[:, 0].tolist() == [640, 1280, 1920, 0]
    assert spikes[:, 0].tolist() == [1, 1, 1, 0]


def test_decays_round_towards_zero():
    """A negative u dies out instead of staying at -1, and a negative v settles at -127 instead of -128."""
    _, currents, _ = observe(ResettingLIF(shape=(1,), du=2047, vth=10), column(-1, *[0] * 7).astype(np.int32))
    assert currents[:, 0].tolist() == [-64, -32, -16, -8, -4, -2, -1, 0]
    _, _, voltages = observe(ResettingLIF(shape=(1,), du=FORGETS, dv=2048, vth=10), np.full((9, 1), -1, np.int32))
    assert voltages[:, 0].tolist() == [-64, -96, -112, -120, -124, -126, -127, -127, -127]


def test_u_wraps_and_v_saturates():
    """u leaves (-2^23, 2^23] at the other side; v stops at 2^23 - 1."""
    half = 1 << 23
    _, currents, _ = observe(
        ResettingLIF(shape=(3,), du=FORGETS, vth=10), np.array([[1 << 17, (1 << 17) + 1, -(1 << 17)]], np.int32)
    )
    assert currents[0].tolist() == [half, -half + 64, half]
    _, _, voltages = observe(
        ResettingLIF(shape=(1,), du=FORGETS, vth=131071, reset="none"), np.full((2, 1), 100000, np.int32)
    )
    assert voltages[:, 0].tolist() == [6400000, half - 1]


def test_bias_enters_the_state_it_is_meant_for():
    """In v it is added each step; in u it is remembered as the current is."""
    inputs = np.zeros((3, 1), np.int32)
    settings = {"shape": (1,), "du": 2047, "vth": 1000, "bias_mant": 3, "bias_exp": 6}
    _, currents, voltages = observe(ResettingLIF(**settings), inputs)
    assert currents[:, 0].tolist() == [0, 0, 0]
    assert voltages[:, 0].tolist() == [192, 384, 576]
    _, currents, voltages = observe(ResettingLIF(bias_in_current=True, **settings), inputs)
    assert currents[:, 0].tolist() == [192, 288, 336]
    assert voltages[:, 0].tolist() == [192, 480, 816]


def test_parameters_may_differ_per_neuron():
    """A population with two settings equals two populations with one each."""
    inputs = np.random.default_rng(0).integers(-20, 40, (40, 2)).astype(np.int32)
    both = observe(
        ResettingLIF(shape=(2,), du=np.array([500, 4095]), dv=np.array([0, 300]), vth=np.array([90, 30])), inputs
    )
    first = observe(ResettingLIF(shape=(1,), du=500, dv=0, vth=90), inputs[:, :1])
    second = observe(ResettingLIF(shape=(1,), du=4095, dv=300, vth=30), inputs[:, 1:])
    assert all(np.array_equal(b, np.hstack((f, s))) for b, f, s in zip(both, first, second, strict=True))
    assert both[0].any(axis=0).all()


@pytest.mark.parametrize("scale", [50, 200_000])
def test_zero_reset_equals_stock_lif(scale):
    """Over random input, past the wrap of u and the clip of v too, spikes and states are those of Lava's LIFReset."""
    from neurodeploy.backends.loihi2.network import run_configuration

    rng = np.random.default_rng(1)
    inputs = rng.integers(-scale, 2 * scale, (60, 10)).astype(np.int32)
    settings = {
        "shape": (10,),
        "du": 700,
        "dv": 250,
        "vth": 2 * scale % 131071,
        "bias_mant": np.arange(-5, 5),
        "bias_exp": 4,
    }
    ours = observe(ResettingLIF(reset="zero", **settings), inputs)
    stock = LIFReset(reset_interval=1000, reset_offset=999, **settings)
    kept = Recording(1, *(np.zeros((60, 10), kind) for kind in (np.uint8, np.int64, np.int64)), np.zeros(1, np.int64))
    stock.proc_params["recording"] = kept
    with registries_restored():
        source = SpikeInput(samples=inputs[None])
        source.s_out.connect(stock.a_in)
        step_models(build_models(source, run_configuration()), 60)
    assert all(np.array_equal(o, k) for o, k in zip(ours, (kept.spikes, kept.currents, kept.voltages), strict=True))
    assert ours[0].any()


def test_zero_reset_equals_stock_lif_in_floating_point():
    """Spikes are those of Lava's floating-point LIF."""
    inputs = np.random.default_rng(2).normal(0.1, 0.6, (80, 12))
    settings = {"shape": (12,), "du": 0.3, "dv": 0.07, "vth": 1.0, "bias_mant": 0.02}
    ours = respond(ResettingLIF(reset="zero", **settings), inputs, "floating_pt")
    assert np.array_equal(ours, respond(LIF(**settings), inputs, "floating_pt"))
    assert ours.any()


def test_neurons_rest_between_samples_and_before_the_first():
    """With a bias that fires in every step, spikes and states exist only within the samples, which are all alike."""
    lif = ResettingLIF(
        shape=(1,), du=FORGETS, vth=1, bias_mant=100, reset="none", first_step=3, period=4, active_steps=3
    )
    spikes, _, voltages = observe(lif, np.zeros((11, 1), np.int32))
    assert voltages[:, 0].tolist() == [0, 0, 100, 200, 300, 0, 100, 200, 300, 0, 100]
    assert spikes[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1]


def test_spike_input_plays_samples_at_its_period():
    """Sample j step k is sent at time step 1 + j period + k, with zeros in between and afterwards."""
    with registries_restored():
        source = SpikeInput(samples=np.array([[[1], [-2]], [[300], [4]]], np.int32), period=3)
        recorder = Recorder(shape=(1,), steps=8)
        source.s_out.connect(recorder.a_in)
        step_models(build_models(source, Loihi2SimCfg(select_tag="fixed_pt")), 8)
    assert recorder.data[:, 0].tolist() == [1, -2, 0, 300, 4, 0, 0, 0]


BETA, ALPHA = 0.875, 0.75
SNNTORCH = {
    # name: (neuron, its du, and our reset)
    "Leaky subtract": (lambda: snntorch.Leaky(beta=BETA), 1.0, "subtract_next_step"),
    "Leaky zero": (lambda: snntorch.Leaky(beta=BETA, reset_mechanism="zero"), 1.0, "zero"),
    "Leaky none": (lambda: snntorch.Leaky(beta=BETA, reset_mechanism="none"), 1.0, "none"),
    "Leaky subtract at once": (lambda: snntorch.Leaky(beta=BETA, reset_delay=False), 1.0, "subtract"),
    "Leaky zero at once": (lambda: snntorch.Leaky(beta=BETA, reset_mechanism="zero", reset_delay=False), 1.0, "zero"),
    "Synaptic subtract": (lambda: snntorch.Synaptic(alpha=ALPHA, beta=BETA), 1 - ALPHA, "subtract_next_step"),
    "Synaptic zero": (
        lambda: snntorch.Synaptic(alpha=ALPHA, beta=BETA, reset_mechanism="zero"), 1 - ALPHA, "zero_next_step",
    ),
}  # fmt: skip


def snntorch_spikes(layer, inputs):
    """Return the spikes of an snnTorch layer in double precision, (step, neuron)."""
    layer = layer.double()
    state, out = layer.init_leaky() if isinstance(layer, snntorch.Leaky) else layer.init_synaptic(), []
    state = state if isinstance(state, tuple) else (state,)
    for x in torch.from_numpy(inputs):
        spike, *state = layer(x, *state)
        out.append(spike.detach().numpy())
    return np.array(out)


@pytest.mark.parametrize("name", SNNTORCH)
def test_floating_model_fires_as_snntorch(name):
    """The floating-point model is spike-exact with the snnTorch neuron its reset stands for."""
    build, du, reset = SNNTORCH[name]
    inputs = np.random.default_rng(3).normal(0.2, 0.8, (100, 20))
    expected = snntorch_spikes(build(), inputs)
    ours = respond(ResettingLIF(shape=(20,), du=du, dv=1 - BETA, vth=1.0, reset=reset), inputs, "floating_pt")
    assert np.array_equal(expected, ours)
    assert 0.05 < expected.mean() < 0.95


def test_floating_model_fires_as_snntorch_lapicque():
    """Lapicque decays by 1 - ln(1/beta) and gains ln(1/beta); its zero reset drops the input of the next step."""
    inputs = np.random.default_rng(4).normal(2.0, 6.0, (100, 20))
    layer = snntorch.Lapicque(beta=0.9, reset_mechanism="zero").double()
    state, out = layer.init_lapicque(), []
    for x in torch.from_numpy(inputs):
        spike, state = layer(x, state)
        out.append(spike.detach().numpy())
    gain = np.log(1 / 0.9)
    lif = ResettingLIF(shape=(20,), du=1.0, dv=gain, vth=1.0, reset="zero_next_step")
    ours = respond(lif, gain * inputs, "floating_pt")
    assert np.array_equal(np.array(out), ours)
    assert 0.05 < ours.mean() < 0.95


@pytest.mark.parametrize(("mechanism", "reset"), [("subtract", "subtract_next_step"), ("zero", "zero_next_step")])
def test_floating_model_in_a_loop_fires_as_snntorch_rleaky(mechanism, reset):
    """With a Dense from its output to its input, the one step of the Dense is RLeaky's recurrent delay."""
    inputs = np.random.default_rng(5).normal(0.2, 0.8, (100, 20))
    layer = snntorch.RLeaky(beta=BETA, linear_features=20, reset_mechanism=mechanism).double()
    torch.nn.init.zeros_(layer.recurrent.bias)
    spike, state = layer.init_rleaky()
    out = []
    for x in torch.from_numpy(inputs):
        spike, state = layer(x, spike.double(), state)
        out.append(spike.detach().numpy())
    lif = ResettingLIF(shape=(20,), du=1.0, dv=1 - BETA, vth=1.0, reset=reset)
    ours = respond(lif, inputs, "floating_pt", back=layer.recurrent.weight.detach().numpy())
    assert np.array_equal(np.array(out), ours)
    assert 0.05 < ours.mean() < 0.95
