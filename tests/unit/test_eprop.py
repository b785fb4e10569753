"""e-prop equals autograd wherever the mathematics says so (algorithms of Bellec et al. 2020), in float64.

The oracles are autograd on simulations written out in `learning_networks`, and snnTorch. Each identity has a control
that fails, so that none holds by accident.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import snntorch
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from neurodeploy.errors import UnsupportedError
from neurodeploy.ir.plasticity import Rule
from neurodeploy.learning import eprop
from neurodeploy.learning.eprop import ALIF_RULE, EXACT_RULE, LIF_RULE, TWO_TRACE_RULE, EProp, Options
from neurodeploy.learning.interpreter import weight_change
from neurodeploy.learning.surrogates import SURROGATES, triangle
from tests.unit.learning_networks import (
    CLASSES,
    INPUTS,
    SAMPLES,
    THRESHOLD,
    Fire,
    hidden_layer,
    labels,
    leaky_readout,
    lively,
    network,
    relative,
    spikes,
    summed_cross_entropy,
)

BETA = float(torch.tensor(0.95))
ANALYTIC = Options(readout="membrane", stretch=7)


def learner(arch: str = "7", options: Options = ANALYTIC, **kind: object) -> EProp:
    return EProp(network(arch, **kind), options, seed=3, dtype=torch.float64)  # type: ignore[arg-type]


def parameters(made: EProp) -> tuple[Tensor, ...]:
    hidden, output = made.net.layers[0], made.net.output
    found = (hidden.weight, hidden.recurrent, output.weight, output.bias)
    return tuple(p.detach().clone().requires_grad_() for p in found if p is not None)


def oracle(made: EProp, x: Tensor, y: Tensor, stop: str) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
    """Return the simulated layer and the autograd gradients of the summed loss in the learner's own weights."""
    hidden = made.net.layers[0]
    leaves = parameters(made)
    w, *rest = leaves
    v = rest[0] if hidden.recurrent is not None else None
    w_out, b_out = leaves[-2:]
    more = {} if hidden.strength is None else {"rho": float(hidden.decay), "strength": hidden.strength}
    layer = hidden_layer(x, w, v, beta=BETA, stop=stop, **more)
    readout = leaky_readout(layer["z"], w_out, b_out, BETA)
    return layer, torch.autograd.grad(summed_cross_entropy(readout, y), leaves)


def found(made: EProp, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    made.gradients(x, y)
    hidden, output = made.net.layers[0], made.net.output
    return tuple(
        SAMPLES * p.grad for p in (hidden.weight, hidden.recurrent, output.weight, output.bias) if p is not None
    )


@pytest.mark.parametrize("adaptive", [False, True], ids=["lif", "alif"])
def test_e1_symmetric_eprop_is_autograd_with_recurrence_and_reset_stopped(adaptive: bool) -> None:
    made = learner("7r", adaptive=adaptive)
    layer, expected = oracle(made, spikes(), labels(), "recurrence and reset")
    assert lively(layer["z"])
    for name, got, want in zip(("in", "rec", "out", "bias"), found(made, spikes(), labels()), expected, strict=True):
        assert relative(got, want) < 1e-9, name


@pytest.mark.parametrize("rule", [LIF_RULE, ALIF_RULE], ids=["lif", "alif"])
@pytest.mark.parametrize("refractory", [1, 3])
def test_e1_holds_for_every_refractory_period_where_psi_is_zero(rule: Rule, refractory: int) -> None:
    """Through the interpreter, which takes psi as given."""
    made = learner("7r", adaptive=rule is ALIF_RULE)
    hidden = made.net.layers[0]
    w, v, w_out, b_out = parameters(made)
    more = {"rho": float(hidden.decay), "strength": hidden.strength} if rule is ALIF_RULE else {}
    layer = hidden_layer(spikes(), w, v, beta=BETA, refractory=refractory, **more)
    y = leaky_readout(layer["z"], w_out, b_out, BETA)
    expected = torch.autograd.grad(summed_cross_entropy(y, labels()), (w, v))
    assert refractory == 1 or layer["refractory"].sum() > 10
    psi = (triangle(layer["u"], torch.tensor(THRESHOLD).double()) * (1 - layer["refractory"])).detach()
    signal = ((y.softmax(2) - one_hot(labels(), CLASSES)) @ w_out).detach()
    constants = {name: value for name, value in {"beta": BETA, "kappa": BETA, **more}.items()}
    for x, want in ((spikes(), expected[0]), (layer["before"], expected[1])):
        change, _ = weight_change(rule, x, layer["z"].detach(), psi=psi, signal=signal, constants=constants)
        off_diagonal = 1 - torch.eye(7).double() if want.shape == (7, 7) else 1
        assert relative(-change * off_diagonal, want) < 1e-9


def test_e2_feed_forward_eprop_is_bptt_when_the_reset_is_detached() -> None:
    made = learner()
    layer, expected = oracle(made, spikes(), labels(), "reset")
    assert lively(layer["z"])
    for got, want in zip(found(made, spikes(), labels()), expected, strict=True):
        assert relative(got, want) < 1e-9


def test_e2_fails_when_the_reset_is_not_detached() -> None:
    made = learner()
    _, expected = oracle(made, spikes(), labels(), "nothing")
    assert relative(found(made, spikes(), labels())[0], expected[0]) > 1e-2


def test_e2x_with_the_reset_in_the_recursion_nothing_need_be_detached() -> None:
    made = learner(options=replace(ANALYTIC, exact=True))
    _, expected = oracle(made, spikes(), labels(), "nothing")
    for got, want in zip(found(made, spikes(), labels()), expected, strict=True):
        assert relative(got, want) < 1e-9


@pytest.mark.parametrize("rule", [LIF_RULE, ALIF_RULE], ids=["lif", "alif"])
def test_e3_bptt_factorizes_into_total_derivatives_and_eligibilities(rule: Rule) -> None:
    """dE/dW = sum_t (dE/dz_j(t)) e_ji(t), nothing detached but that the adaptation is the neuron's own affair."""
    made = learner("7r", adaptive=rule is ALIF_RULE)
    hidden = made.net.layers[0]
    w, v, w_out, b_out = parameters(made)
    rho, strength = (float(hidden.decay), hidden.strength) if rule is ALIF_RULE else (0.0, torch.zeros(7).double())
    mask = 1 - torch.eye(7).double()
    membrane, z, own, a = (torch.zeros(SAMPLES, 7).double() for _ in range(4))
    visible, u, before = [], [], []
    for now in spikes():
        a = rho * a + own
        before.append(z)
        membrane = BETA * membrane + now @ w.T + z @ (v * mask).T - THRESHOLD * z
        u.append(membrane - THRESHOLD - strength * a)
        own = Fire.apply(u[-1], triangle, THRESHOLD)
        z = own * 1.0
        visible.append(z)
    loss = summed_cross_entropy(leaky_readout(torch.stack(visible), w_out, b_out, BETA), labels())
    signal = torch.stack(torch.autograd.grad(loss, visible, retain_graph=True))
    expected = torch.autograd.grad(loss, (w, v))
    psi = triangle(torch.stack(u), torch.tensor(THRESHOLD).double()).detach()
    constants = {"beta": BETA, "kappa": 0.0, "rho": rho, "strength": strength}
    for x, want in ((spikes(), expected[0]), (torch.stack(before).detach(), expected[1] * mask)):
        change, _ = weight_change(rule, x, torch.zeros_like(psi), psi=psi, signal=signal, constants=constants)
        assert relative(-change * (mask if want.shape == (7, 7) else 1), want) < 1e-9


@pytest.mark.parametrize("adaptive", [False, True], ids=["lif", "alif"])
def test_e4_the_rate_regularizer_is_its_own_gradient(adaptive: bool) -> None:
    """With recurrence and reset stopped, as the rest of e-prop."""
    c, target = 50.0, 0.01
    plain = learner("7r", adaptive=adaptive)
    regularized = learner("7r", replace(ANALYTIC, regularizer=c, target_rate=target), adaptive=adaptive)
    w, v, *_ = parameters(plain)
    hidden = plain.net.layers[0]
    more = {"rho": float(hidden.decay), "strength": hidden.strength} if adaptive else {}
    rate = hidden_layer(spikes(), w, v, beta=BETA, **more)["z"].mean((0, 1))
    expected = torch.autograd.grad(c / 2 * ((rate - target) ** 2).sum(), (w, v))
    without, with_it = found(plain, spikes(), labels())[:2], found(regularized, spikes(), labels())[:2]
    for a, b, want in zip(without, with_it, expected, strict=True):
        assert relative((b - a) / SAMPLES, want) < 1e-9


@pytest.mark.parametrize("stretch", [1, 4, 29, 30, 100])
def test_e5_the_length_of_a_stretch_changes_nothing(stretch: int) -> None:
    """Within a stretch kappa filters later errors, between stretches earlier traces: the same sum."""
    reference = found(learner("7r"), spikes(), labels())
    for got, want in zip(
        found(learner("7r", replace(ANALYTIC, stretch=stretch)), spikes(), labels()), reference, strict=True
    ):
        assert relative(got, want) < 1e-12


def test_e6_two_traces_equal_snntorchs_own_gradient() -> None:
    """snnTorch's Synaptic, rate readout, its own detached reset."""
    generator = torch.Generator().manual_seed(0)
    steps, samples, inputs, neurons, classes = 40, 3, 6, 8, 4
    x = (torch.rand(steps, samples, inputs, generator=generator) < 0.3).double()
    w = (0.25 * torch.randn(neurons, inputs, generator=generator).double()).requires_grad_()
    w_out = (0.3 * torch.randn(classes, neurons, generator=generator).double()).requires_grad_()
    y = torch.randint(0, classes, (samples,), generator=generator)
    psi = SURROGATES["fast_sigmoid"]
    lif = snntorch.Synaptic(
        alpha=0.9,
        beta=0.5,
        threshold=0.9,
        spike_grad=lambda u: Fire.apply(u, psi, 0.9),
    ).double()
    alpha, beta, threshold = float(lif.alpha), float(lif.beta), float(lif.threshold)
    syn, mem = torch.zeros(samples, neurons).double(), torch.zeros(samples, neurons).double()
    fired, membranes = [], []
    for now in x:
        spike, syn, mem = lif(now @ w.T, syn, mem)
        fired.append(spike)
        membranes.append(mem)
    z = torch.stack(fired)
    assert lively(z)
    logits = z.mean(0) @ w_out.T
    expected = torch.autograd.grad(cross_entropy(logits, y), w)[0]
    error = (logits.softmax(1) - one_hot(y, classes)).detach() / samples
    signal = (error @ w_out.detach() / steps).expand(steps, -1, -1)
    pseudo = psi(torch.stack(membranes).detach() - threshold, torch.tensor(threshold).double())
    constants = {"alpha": alpha, "beta": beta, "kappa": 0.0}
    change, _ = weight_change(TWO_TRACE_RULE, x, z.detach(), psi=pseudo, signal=signal, constants=constants)
    assert relative(-change, expected) < 1e-9


def test_e7_random_feedback_is_autograd_of_an_auxiliary_loss() -> None:
    """sum_t sum_l zbar_l(t) . (B_l err(t)) with errors, reset and spikes between layers detached, any B."""
    made = learner("8-7", replace(ANALYTIC, feedback="random"))
    first, second, output = made.net
    w1, w2 = (layer.weight.detach().clone().requires_grad_() for layer in (first, second))
    z1 = hidden_layer(spikes(), w1, None, beta=BETA)["z"]
    z2 = hidden_layer(z1.detach(), w2, None, beta=BETA)["z"]
    assert lively(z1)
    assert lively(z2)
    y = leaky_readout(z2.detach(), output.weight.detach(), output.bias.detach(), BETA)
    error = y.softmax(2) - one_hot(labels(), CLASSES)
    loss = torch.zeros(()).double()
    for z, layer in ((z1, first), (z2, second)):
        filtered = leaky_readout(z, torch.eye(z.shape[2]).double(), torch.zeros(z.shape[2]).double(), BETA)
        loss = loss + (filtered * (error @ made.feedback[layer.name])).sum()
    expected = torch.autograd.grad(loss, (w1, w2))
    made.gradients(spikes(), labels())
    for layer, want in zip((first, second), expected, strict=True):
        assert relative(SAMPLES * layer.weight.grad, want) < 1e-9


def test_e8_adaptive_feedback_approaches_the_output_weights_as_kolen_and_pollack_say() -> None:
    """W_out - B shrinks by exactly (1 - d) per update."""
    options = replace(ANALYTIC, feedback="adaptive", shrink=0.01, optimizer="sgd", rate=1e-3)
    made = learner("7", options)
    before = made.net.output.weight.detach() - made.feedback["lif1"]
    for seed in range(20):
        made.learn(spikes(seed), labels(seed))
    after = made.net.output.weight.detach() - made.feedback["lif1"]
    assert not torch.equal(made.net.output.weight, learner("7", options).net.output.weight)
    assert relative(after, 0.99**20 * before) < 1e-12


@pytest.mark.parametrize(
    ("arch", "alpha", "options"),
    [
        ("7", None, Options(stretch=4)),
        ("7r", 0.6, Options(stretch=30)),
        ("8r-7", 0.6, Options(stretch=7, feedback="random")),
        ("7r", None, Options(stretch=7, filtered=False)),
        ("7", None, Options(readout="membrane", kappa=0.7)),
    ],
)
def test_the_fast_sums_are_the_table_read_literally(arch: str, alpha: float | None, options: Options) -> None:
    """Every weight and bias of every layer, the spiking readout included."""
    fast = EProp(network(arch, alpha=alpha), options, seed=3, dtype=torch.float64)
    slow = EProp(network(arch, alpha=alpha), options, seed=3, dtype=torch.float64)
    replaced = []
    for weight, bias, sums in slow.accumulators:
        rule, constants = eprop.rule_of(sums.layer.neuron), eprop.constants_of(sums.layer, sums.kappa)
        replaced.append((weight, bias, eprop.Interpreted(sums.layer, sums.recurrent, rule, constants)))
    slow.accumulators = replaced
    fast.gradients(spikes(), labels())
    slow.gradients(spikes(), labels())
    for got, want in zip(fast.net.parameters(), slow.net.parameters(), strict=True):
        assert relative(got.grad, want.grad) < 1e-9


@pytest.mark.parametrize(
    ("plant", "least"),
    [
        (replace(LIF_RULE, pre={"eps": "beta*eps' + x"}, synapse={"e": "kappa*e' + psi*eps'"}), 1e-2),
        (replace(LIF_RULE, synapse={"e": "psi*eps"}), 1e-1),
        (replace(LIF_RULE, synapse={"e": "kappa*e' + psi'*eps"}), 1e-2),
    ],
    ids=["trace a step late", "no filter", "psi a step late"],
)
def test_planted_bugs_in_the_table_break_the_identity(plant: Rule, least: float) -> None:
    made = learner()
    layer, expected = oracle(made, spikes(), labels(), "reset")
    w_out, b_out = made.net.output.weight.detach(), made.net.output.bias.detach()
    error = leaky_readout(layer["z"], w_out, b_out, BETA).softmax(2) - one_hot(labels(), CLASSES)
    psi = triangle(layer["u"], torch.tensor(THRESHOLD).double()).detach()
    constants = {"beta": BETA, "kappa": BETA}

    def deviation(rule: Rule) -> float:
        change, _ = weight_change(
            rule, spikes(), layer["z"].detach(), psi=psi, signal=(error @ w_out).detach(), constants=constants
        )
        return relative(-change, expected[0])

    assert deviation(LIF_RULE) < 1e-9
    assert deviation(plant) > least


def test_adaptation_needs_psi_of_the_step_before() -> None:
    """The planted bug eps_a with psi(t) in place of psi(t-1) breaks E1."""
    made = learner("7r", adaptive=True)
    wrong = {"a": "psi*eps' + rho*a' - strength*psi*a'"}
    planted = replace(ALIF_RULE, synapse={**ALIF_RULE.synapse, **wrong})
    for _, _, sums in made.accumulators:
        if isinstance(sums, eprop.Interpreted):
            sums.rule = planted
    _, expected = oracle(made, spikes(), labels(), "recurrence and reset")
    assert relative(found(made, spikes(), labels())[0], expected[0]) > 1e-3


def test_a_triangle_without_its_height_scales_the_gradient_by_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SURROGATES, "triangle", lambda u, threshold: threshold * triangle(u, threshold))
    made = learner()
    _, expected = oracle(made, spikes(), labels(), "reset")
    got = found(made, spikes(), labels())[0]
    assert relative(got, expected[0]) > 0.3
    assert relative(got, THRESHOLD * expected[0]) < 1e-6


def test_no_neuron_learns_a_synapse_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner("7r")
    made.gradients(spikes(), labels())
    assert not made.net.layers[0].recurrent.diagonal().any()
    assert not made.net.layers[0].recurrent.grad.diagonal().any()
    monkeypatch.setattr(EProp, "masks_self", lambda self: False)
    made.gradients(spikes(), labels())
    assert made.net.layers[0].recurrent.grad.diagonal().any()


def test_filtered_eligibilities_on_kernels_are_refused() -> None:
    from neurodeploy.ir.nodes import Input, InputKind
    from neurodeploy.learning.architectures import Neurons, build

    convolutional = build("4C3", Input((1, 5, 5), InputKind.SPIKES), 3, Neurons(0.9, 1.0), seed=0)
    with pytest.raises(UnsupportedError, match="ND072"):
        EProp(convolutional, Options(), seed=0)
    EProp(convolutional, Options(filtered=False), seed=0)


def test_every_table_knows_its_names() -> None:
    for rule in (LIF_RULE, TWO_TRACE_RULE, ALIF_RULE, EXACT_RULE):
        assert rule.name == "eprop"
    with pytest.raises(ValueError, match="uses"):
        replace(LIF_RULE, weight="-L*unknown")


def test_inputs_of_the_tests_are_lively() -> None:
    assert spikes().shape[2] == INPUTS
    assert lively(spikes())
