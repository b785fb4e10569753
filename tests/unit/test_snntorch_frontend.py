"""What `record` makes of snnTorch modules: the same spikes where it accepts, a line and a remedy where it refuses."""

import functools
import inspect

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import utils
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from neurodeploy.errors import NetworkError, NeurodeployError, UnsupportedError, UsageError
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import run_source
from neurodeploy.ir.nodes import AveragePool, Conv, InputKind, Linear, MaxPool, Reset, Scale, SparseLinear

STEPS, BATCH = 6, 3


class Net(nn.Module):
    """Two dense layers over input (step, sample, 8); tests override one method to do something else there."""

    def __init__(self, **settings):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(8, 5), snn.Leaky(beta=0.9, threshold=0.2, **settings)
        self.fc2, self.lif2 = nn.Linear(5, 3), snn.Leaky(beta=0.8, threshold=0.1)

    def steps(self, x):
        return [x[t] for t in range(x.shape[0])]

    def start(self):
        return self.lif1.reset_mem()

    def current(self, current):
        return current

    def membrane(self, mem, step):
        return mem

    def spikes(self, spikes):
        return spikes

    def returned(self, out, hidden, mem):
        return torch.stack(out)

    def forward(self, x):
        mem1, mem2 = self.start(), self.lif2.reset_mem()
        out, hidden, mems = [], [], []
        for step, x_t in enumerate(self.steps(x)):
            spk1, mem1 = self.lif1(self.current(self.fc1(x_t)), self.membrane(mem1, step))
            spk2, mem2 = self.lif2(self.fc2(self.spikes(spk1)), mem2)
            out.append(spk2)
            hidden.append(spk1)
            mems.append(mem2)
        return self.returned(out, hidden, mems)


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(3)


def example(*shape):
    return torch.rand(*(shape or (STEPS, BATCH, 8)))


def own_spikes(net, x):
    with torch.no_grad():
        out = net.eval()(x)
    return out[0] if isinstance(out, tuple) else out


def assert_same_output(net, x, inputs=None):
    """Hold `run_source` of the record against the module itself, which must fire but not always."""
    network = record(net, x)
    expected = own_spikes(net, x).numpy()
    assert 0 < expected.mean() < 1
    result = run_source(network, x.numpy() if inputs is None else inputs)
    np.testing.assert_array_equal(result.spikes[network.output], expected.astype(np.uint8))
    return network


def refusal(net, x=None, error=UnsupportedError):
    with pytest.raises(error) as caught:
        record(net, example() if x is None else x)
    assert all(finding.fix and finding.why for finding in caught.value.findings)
    return caught.value


def line_of(method, text):
    """Return file:line of the line of `method` that holds `text`."""
    lines, first = inspect.getsourcelines(method)
    offset = next(i for i, line in enumerate(lines) if text in line)
    return f"{__file__}:{first + offset}"


# Ways to write a network


def test_loop_over_the_first_axis():
    """x[t] in a loop is the input of step t."""
    network = assert_same_output(Net(), example())
    assert [(e.source, e.target) for e in network.edges] == [
        ("input", "fc1"),
        ("fc1", "lif1"),
        ("lif1", "fc2"),
        ("fc2", "lif2"),
    ]
    assert network.output == "lif2"
    assert network.origin["lif1"] == 'snntorch.Leaky "net.lif1"'
    assert network.input_node.shape == (8,)


@pytest.mark.parametrize(
    ("steps", "axis"),
    [
        (lambda self, x: x, 0),
        (lambda self, x: [x[:, t] for t in range(x.size(1))], 1),
        (lambda self, x: [x[..., t] for t in range(x.shape[-1])], 2),
        (lambda self, x: x.permute(1, 0, 2), 1),
        (lambda self, x: x.unbind(1), 1),
    ],
    ids=["iteration", "second axis", "last axis", "permuted", "unbind"],
)
def test_time_axis_anywhere(steps, axis):
    """The time axis may be any axis of the example."""
    net = type("Ordered", (Net,), {"steps": steps})()
    first = example()
    assert_same_output(net, first.movedim(0, axis).contiguous(), inputs=first.numpy())


def test_static_input():
    """An input that is used at every step as a whole is injected at every step."""
    net = type("Static", (Net,), {"steps": lambda self, x: [x] * STEPS})()
    x = example(BATCH, 8)
    assert_same_output(net, x, inputs=np.repeat(x.numpy()[None], STEPS, 0))


def test_sequential_with_hidden_states():
    """A Sequential of init_hidden neurons takes one step per call."""
    net = nn.Sequential(
        nn.Linear(8, 5),
        snn.Leaky(beta=0.9, threshold=0.2, init_hidden=True),
        nn.Linear(5, 3),
        snn.Synaptic(alpha=0.5, beta=0.8, threshold=0.1, init_hidden=True, output=True),
    ).eval()
    x = example()
    network = record(net, x[0])
    utils.reset(net)
    with torch.no_grad():
        expected = torch.stack([net(x_t)[0] for x_t in x]).numpy()
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(run_source(network, x.numpy()).spikes["3"], expected)
    assert network.output == "3"


def test_states_as_arguments():
    """The one-step form of snnTorch's own documentation is read: forward(x, mem1, spk1, mem2)."""

    class Documented(Net):
        def forward(self, x, mem1, spk1, mem2):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            return mem1, spk1, mem2, spk2

    network = record(Documented(), example(BATCH, 8))
    assert network.output == "lif2"
    assert list(network.populations) == ["lif1", "lif2"]


def test_handwritten_recurrence():
    """Spikes fed back through a layer become an edge that waits one step."""

    class Recurrent(Net):
        def __init__(self):
            super().__init__()
            self.back = nn.Linear(5, 5)

        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            spk1 = torch.zeros(x.shape[1], 5)
            out = torch.zeros(x.shape[0], x.shape[1], 3)
            for t in range(x.shape[0]):
                spk1, mem1 = self.lif1(self.fc1(x[t]) + self.back(spk1), mem1)
                out[t], mem2 = self.lif2(self.fc2(spk1), mem2)
            return out

    network = assert_same_output(Recurrent(), example())
    assert [(e.source, e.target, e.delay_steps) for e in network.edges if e.delay_steps] == [("lif1", "back", 1)]


def test_recurrence_that_skips_the_first_step():
    """Leaving the recurrent layer out at step 0 is the same without a bias, and refused with one."""

    class Skipping(Net):
        def __init__(self, bias):
            super().__init__()
            self.back = nn.Linear(5, 5, bias=bias)

        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            out, spk1 = [], None
            for x_t in x:
                current = self.fc1(x_t) if spk1 is None else self.fc1(x_t) + self.back(spk1)
                spk1, mem1 = self.lif1(current, mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                out.append(spk2)
            return torch.stack(out)

    assert_same_output(Skipping(bias=False), example())
    assert refusal(Skipping(bias=True)).findings[0].code == "ND016"


def test_convolutional_tutorial_net():
    """Functional pools, view and a static input, as in snnTorch's sixth tutorial."""

    class Tutorial(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.lif1 = nn.Conv2d(1, 4, 3), snn.Leaky(beta=0.5, threshold=0.3)
            self.conv2, self.lif2 = nn.Conv2d(4, 4, 3), snn.Leaky(beta=0.5, threshold=0.1)
            self.fc, self.lif3 = nn.Linear(16, 3), snn.Leaky(beta=0.5, threshold=0.05)

        def forward(self, x):
            mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
            out, mems = [], []
            for _ in range(STEPS):
                spk1, mem1 = self.lif1(F.max_pool2d(self.conv1(x), 2), mem1)
                spk2, mem2 = self.lif2(F.avg_pool2d(self.conv2(spk1), 2), mem2)
                spk3, mem3 = self.lif3(self.fc(spk2.view(x.size(0), -1)), mem3)
                out.append(spk3)
                mems.append(mem3)
            return torch.stack(out), torch.stack(mems)

    x = example(BATCH, 1, 14, 14)
    network = assert_same_output(Tutorial(), x, inputs=np.repeat(x.numpy()[None], STEPS, 0))
    assert isinstance(network.nodes["max_pool2d"], MaxPool)
    assert isinstance(network.nodes["avg_pool2d"], AveragePool)
    assert network.input_node.shape == (1, 14, 14)


def test_layers_keep_their_settings():
    """Padding, stride, dilation, groups, pools, batch norm, flatten and unflatten compute what PyTorch computes."""
    front = nn.Sequential(
        nn.Conv2d(2, 4, (3, 5), padding="same", dilation=(1, 2), groups=2),
        nn.BatchNorm2d(4),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.Dropout2d(0.5),
        nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(0, 1), bias=False),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Unflatten(1, (6, -1)),
        nn.Conv1d(6, 3, 3, padding="valid"),
        nn.AvgPool1d(2),
        nn.BatchNorm1d(3, affine=False),
    )
    for norm in (front[1], front[10]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    net = nn.Sequential(front, snn.Leaky(beta=0.0, threshold=0.1, reset_mechanism="none", init_hidden=True)).eval()
    x = example(BATCH, 2, 12, 9)
    with torch.no_grad():
        current = front(x)
    network = record(net, x)
    result = run_source(network, x.numpy()[None], record_states=True)
    np.testing.assert_allclose(result.voltages["1"][0], current.numpy(), rtol=1e-4, atol=1e-5)
    kinds = [type(node) for node in network.nodes.values()]
    assert kinds.count(Conv) == 3
    assert kinds.count(Scale) == 2


def test_sums_feed_neurons_and_layers():
    """Currents add up at a neuron, and a layer over a sum becomes one node per term with one bias."""

    class Residual(Net):
        def __init__(self):
            super().__init__()
            self.skip, self.lif0 = nn.Linear(8, 5), snn.Leaky(beta=0.7, threshold=0.1)

        def forward(self, x):
            mem0, mem1, mem2 = self.lif0.reset_mem(), self.lif1.reset_mem(), self.lif2.reset_mem()
            out = 0
            for x_t in x:
                spk0, mem0 = self.lif0(self.skip(x_t), mem0)
                spk1, mem1 = self.lif1(self.fc1(x_t) + self.skip(x_t), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1 + spk0), mem2)
                out = out + spk2
            return out

    net, x = Residual(), example()
    network = record(net, x)
    counts = run_source(network, x.numpy(), dtype="float64").spikes["lif2"].sum(0)
    np.testing.assert_array_equal(counts, own_spikes(net, x).numpy())
    fed = [network.nodes[edge.source] for edge in network.incoming("lif2")]
    assert [node.bias is None for node in fed] == [False, True]


def test_shared_layer():
    """One Linear used in two places keeps its weights in both."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.lif1, self.lif2 = snn.Leaky(beta=0.9, threshold=0.1), snn.Leaky(beta=0.9, threshold=0.1)

        def forward(self, x):
            mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for x_t in x:
                spk, mem1 = self.lif1(self.fc(x_t), mem1)
                spk, mem2 = self.lif2(self.fc(spk), mem2)
                out.append(spk)
            return torch.stack(out)

    network = assert_same_output(Shared(), example())
    assert sum(isinstance(node, Linear) for node in network.nodes.values()) == 2


def test_reparametrized_weights_are_read_as_computed():
    """Pruning masks and weight norm act on the recorded weights."""
    net = Net()
    prune.random_unstructured(net.fc1, "weight", 0.5)
    parametrizations.weight_norm(net.fc2)
    network = assert_same_output(net, example())
    assert (network.nodes["fc1"].weight == 0).mean() == 0.5


# Neurons


@pytest.mark.parametrize(
    ("neuron", "reset"),
    [
        (snn.Leaky(beta=0.9), Reset.SUBTRACT_NEXT_STEP),
        (snn.Leaky(beta=0.9, reset_mechanism="zero"), Reset.ZERO),
        (snn.Leaky(beta=0.9, reset_mechanism="none"), Reset.NONE),
        (snn.Leaky(beta=0.9, reset_delay=False), Reset.SUBTRACT),
        (snn.Leaky(beta=0.9, reset_delay=False, reset_mechanism="zero"), Reset.ZERO),
        (snn.RLeaky(beta=0.9, linear_features=8, reset_mechanism="zero"), Reset.ZERO_NEXT_STEP),
        (snn.Synaptic(alpha=0.5, beta=0.9, reset_mechanism="zero"), Reset.ZERO_NEXT_STEP),
        (snn.Synaptic(alpha=0.5, beta=0.9, reset_mechanism="zero", reset_delay=False), Reset.ZERO),
        (snn.RSynaptic(alpha=0.5, beta=0.9, linear_features=8), Reset.SUBTRACT_NEXT_STEP),
        (snn.RSynaptic(alpha=0.5, beta=0.9, all_to_all=False, V=torch.rand(8)), Reset.SUBTRACT_NEXT_STEP),
        (snn.Lapicque(beta=0.7, threshold=0.3, reset_mechanism="zero"), Reset.ZERO_NEXT_STEP),
        (snn.Lapicque(R=5.1, C=0.5, time_step=0.1, threshold=0.3), Reset.SUBTRACT_NEXT_STEP),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else value.value,
)
def test_neurons_and_their_membranes(neuron, reset):
    """Each neuron becomes the LIF with its reset; spikes and membranes are snnTorch's."""
    neuron.init_hidden = neuron.output = True
    net = nn.Sequential(neuron).eval()
    x = example(40, BATCH, 8)
    network = record(net, x[0])
    assert network.populations["0"].reset is reset
    utils.reset(net)
    with torch.no_grad():
        steps = [net(x_t) for x_t in x]
    spikes, mem = torch.stack([s[0] for s in steps]).numpy(), torch.stack([s[-1] for s in steps]).numpy()
    assert 0.02 < spikes.mean() < 0.98
    result = run_source(network, x.numpy(), record_states=True)
    np.testing.assert_array_equal(result.spikes["0"], spikes)
    shows_reset_late = isinstance(neuron, snn.Leaky) and reset is Reset.ZERO and neuron.reset_delay
    seen = np.where(spikes > 0, 0, mem) if shows_reset_late else mem
    np.testing.assert_allclose(result.voltages["0"], seen, rtol=2e-6, atol=1e-6)


def test_decays_are_clamped_and_scalars_stay_scalars():
    """beta and alpha act within [0, 1]; one value stays one value, a vector becomes one per neuron."""
    net = nn.Sequential(
        snn.Synaptic(alpha=-0.5, beta=1.5, init_hidden=True),
        snn.Leaky(beta=torch.linspace(-1, 2, 8), threshold=torch.rand(1, 8), init_hidden=True),
    )
    populations = record(net, example(BATCH, 8)).populations
    assert (populations["0"].alpha, populations["0"].beta) == (0.0, 1.0)
    assert populations["0"].beta.shape == populations["0"].threshold.shape == ()
    np.testing.assert_array_equal(populations["1"].beta, net[1].beta.clamp(0, 1).double().numpy())
    assert populations["1"].threshold.shape == (8,)


def test_lapicque_decay_and_gain():
    """Lapicque's Euler step decays by 1 - ln(1/beta) and scales its input by ln(1/beta), not by beta."""
    net = nn.Sequential(snn.Lapicque(beta=0.9, init_hidden=True))
    node = record(net, example(BATCH, 8)).populations["0"]
    assert float(node.beta) == pytest.approx(1 - np.log(1 / 0.9), abs=1e-7)
    assert float(node.gain) == pytest.approx(np.log(1 / 0.9), abs=1e-7)


def test_recurrence_inside_neurons():
    """All-to-all recurrence is a Linear with its bias, one-to-one recurrence a diagonal; both wait one step."""
    net = nn.Sequential(
        snn.RLeaky(beta=0.9, linear_features=8, init_hidden=True),
        snn.RSynaptic(alpha=0.4, beta=0.9, all_to_all=False, V=torch.rand(8), init_hidden=True),
    )
    network = record(net, example(BATCH, 8))
    recurrent, diagonal = network.nodes["0.recurrent"], network.nodes["1.recurrent"]
    assert isinstance(recurrent, Linear)
    assert isinstance(diagonal, SparseLinear)
    np.testing.assert_array_equal(recurrent.weight, net[0].recurrent.weight.detach().double().numpy())
    np.testing.assert_array_equal(recurrent.bias, net[0].recurrent.bias.detach().double().numpy())
    np.testing.assert_array_equal(diagonal.data, net[1].V.detach().double().numpy())
    delayed = {(e.source, e.target) for e in network.edges if e.delay_steps == 1}
    assert delayed == {("0", "0.recurrent"), ("1", "1.recurrent")}


def test_recording_leaves_no_trace():
    """Training flags, hidden states, buffers and the random state are what they were."""
    net = Net().train()
    net.fc1.eval()
    before = net.lif1.mem = torch.rand(2, 5)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    x = example()
    given = x.clone()
    random_state = torch.get_rng_state()
    record(net, x)
    assert (net.training, net.fc1.training, net.lif1.training) == (True, False, True)
    assert net.lif1.mem is before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(x, given)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert snn.Leaky.forward.__module__ == "snntorch._neurons.leaky"


# Input and output


@pytest.mark.parametrize(
    ("values", "kind", "levels"),
    [
        ([0.0, 1.0], InputKind.SPIKES, None),
        ([0.0, 0.25, 1.0], InputKind.GRADED, 4),
        (np.arange(256) / 255, InputKind.GRADED, 255),
        ([0.0, 2.0, 16.0], InputKind.GRADED, 8),
        ([0.0, np.sqrt(0.5), 1.0], InputKind.GRADED, None),
        ([-1.0, 0.5], InputKind.GRADED, 1),
    ],
)
def test_input_kind_and_grid(values, kind, levels):
    """Zeros and ones are spikes; other values are graded, on the coarsest grid that holds them all."""
    x = torch.tensor(np.resize(values, (STEPS, 64, 8)), dtype=torch.float32)
    node = record(Net(), x).input_node
    assert (node.kind, node.levels) == (kind, levels)
    if kind is InputKind.GRADED:
        assert (node.low, node.high) == (np.float32(min(values)), np.float32(max(values)))


@pytest.mark.parametrize(
    "returned",
    [
        lambda self, out, hidden, mem: (torch.stack(hidden), torch.stack(out), torch.stack(mem, 1)),
        lambda self, out, hidden, mem: {"counts": torch.stack(out, -1).sum(-1)},
        lambda self, out, hidden, mem: sum(out),
        lambda self, out, hidden, mem: torch.cat([spikes[None] for spikes in out]).mean(0),
        lambda self, out, hidden, mem: (mem[-1], torch.stack(out).permute(1, 2, 0)),
    ],
    ids=["tuple", "counts", "running sum", "mean", "permuted"],
)
def test_output_is_the_population_that_nothing_follows(returned):
    """Stacks, sums and means over steps of the last spikes all name the output population."""
    assert record(type("Returning", (Net,), {"returned": returned})(), example()).output == "lif2"


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (lambda self, out, hidden, mem: torch.stack(mem), "membranes"),
        (lambda self, out, hidden, mem: out[-1], "some steps only"),
        (lambda self, out, hidden, mem: torch.stack(out).sum(0).softmax(-1), "`softmax`"),
        (lambda self, out, hidden, mem: torch.stack(out).sum(2), "`sum`"),
        (lambda self, out, hidden, mem: torch.stack(out) + torch.stack(mem), "mixture"),
        (lambda self, out, hidden, mem: torch.stack(out)[:, :, :2], "a part"),
        (lambda self, out, hidden, mem: torch.stack(out).sum(0)[:, :2], "a part"),
        (lambda self, out, hidden, mem: sum(out).flip(-1), "rearrangement"),
        (lambda self, out, hidden, mem: (torch.stack(out).mean(0) / 2).flip(-1), "rearrangement"),
        (lambda self, out, hidden, mem: torch.stack(out[:2]).mean(0) + torch.stack(out[2:]).mean(0), "unequally"),
        (lambda self, out, hidden, mem: functools.reduce(lambda count, s: 0.9 * count + s, out), "unequally"),
        (lambda self, out, hidden, mem: torch.stack(out).sum(0) * -1, "`mul`"),
        (lambda self, out, hidden, mem: torch.stack(out)[:0], "no spikes"),
        (lambda self, out, hidden, mem: sum(out) + out[-1], "a second time"),
        (lambda self, out, hidden, mem: self.fc2(hidden[-1] + hidden[0]), "`fc2`"),
        (lambda self, out, hidden, mem: None, "no spikes"),
    ],
)
def test_other_outputs_are_refused(returned, says):
    """What is no spike count of one population over all steps is refused, naming what it is."""
    finding = refusal(type("Returning", (Net,), {"returned": returned})()).findings[0]
    assert finding.code == "ND019"
    assert says in finding.what


# Refusals


def relu(self, current):
    return torch.relu(current)


def doubled(self, current):
    return 2 * current


def branching(self, spikes):
    return spikes if spikes.sum() > 0 else -spikes


def itemized(self, spikes):
    return spikes if spikes.max().item() < 2 else -spikes


def through_numpy(self, spikes):
    return torch.from_numpy(spikes.numpy())


def chosen(self, spikes):
    return torch.where(spikes > 0, spikes, torch.zeros_like(spikes))


def mirrored(self, spikes):
    return spikes.flip(1)


def halved(self, mem, step):
    return mem * 0.5


def zeroed_once(self, mem, step):
    return mem.zero_() if step == 3 else mem


def halved_behind_autograd(self, mem, step):
    mem.data.mul_(0.5)
    return mem


def started_warm(self):
    return torch.full((BATCH, 5), 0.1)


@pytest.mark.parametrize(
    ("hook", "method", "code", "text"),
    [
        ("current", relu, "ND014", "relu(current)"),
        ("current", doubled, "ND014", "2 *"),
        ("spikes", branching, "ND015", "if spikes"),
        ("spikes", itemized, "ND015", "item()"),
        ("spikes", through_numpy, "ND015", "numpy()"),
        ("spikes", chosen, "ND014", "where"),
    ],
)
def test_refusals_name_the_line(hook, method, code, text):
    """An operation without counterpart and a data-dependent branch are refused at the user's own line."""
    error = refusal(type("Hooked", (Net,), {hook: method})())
    assert (code, line_of(method, text)) in {(finding.code, finding.place) for finding in error.findings}


@pytest.mark.parametrize(
    ("hook", "method", "code"),
    [
        ("spikes", mirrored, "ND014"),
        ("membrane", halved, "ND017"),
        ("membrane", zeroed_once, "ND017"),
        ("membrane", halved_behind_autograd, "ND017"),
        ("start", started_warm, "ND018"),
    ],
)
def test_tampering_is_refused_at_the_neuron(hook, method, code):
    """Rearranged spikes, changed membranes and warm starts are refused where they enter a layer."""
    error = refusal(type("Hooked", (Net,), {hook: method})())
    assert code in {finding.code for finding in error.findings}
    assert any(f"{__file__}:" in finding.place for finding in error.findings)


def test_all_findings_come_at_once():
    """Unknown layers and unknown settings in different places are reported together."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"),
        snn.Leaky(beta=0.9, init_hidden=True, graded_spikes_factor=2.0, threshold=-0.5),
        nn.AvgPool2d(3, ceil_mode=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(18, 4),
        nn.Sigmoid(),
        snn.Leaky(beta=0.9, init_hidden=True, spike_grad=torch.sigmoid),
    )
    error = refusal(net, example(BATCH, 1, 8, 8))
    text = str(error)
    for part in ('Conv2d "net.0"', "graded_spikes_factor", "negative threshold", 'ReLU "net.3"', 'Sigmoid "net.6"'):
        assert part in text
    assert "spike_grad" in text
    assert {finding.code for finding in error.findings} == {"ND023", "ND024"}


class Subclass(snn.Leaky):
    pass


@pytest.mark.parametrize(
    ("neuron", "code"),
    [
        (snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True), "ND024"),
        (Subclass(beta=0.9, init_hidden=True), "ND024"),
        (snn.Leaky(beta=0.9, init_hidden=True, state_quant=torch.round), "ND023"),
        (snn.Leaky(beta=torch.rand(BATCH, 8), init_hidden=True), "ND023"),
        (snn.RSynaptic(alpha=0.5, beta=0.9, linear_features=8, reset_delay=False, init_hidden=True), "ND023"),
        (snn.Lapicque(R=1.0, C=0.5, time_step=1.0, init_hidden=True), "ND023"),
    ],
)
def test_neurons_without_counterpart(neuron, code):
    """Other neurons, subclasses and settings outside the equations are refused."""
    net = nn.Sequential(nn.Linear(8, 8), neuron, nn.Linear(8, 2), snn.Leaky(beta=0.9, init_hidden=True))
    assert code in {finding.code for finding in refusal(net, example(BATCH, 8)).findings}


@pytest.mark.filterwarnings("ignore:Inhibition")
def test_inhibition_is_refused():
    """inhibition=True compares neurons with each other and is refused."""
    net = nn.Sequential(snn.Leaky(beta=0.9, inhibition=True, init_hidden=True))
    assert "inhibition" in refusal(net, example(BATCH, 8)).findings[0].what


def test_reset_that_contradicts_its_buffer():
    """A reset loaded into a neuron that was made with another one is refused: snnTorch would run the old one."""
    net = Net()
    weights = Net(reset_mechanism="zero").state_dict()
    net.load_state_dict(weights)
    assert "reset_mechanism says 'zero', but it runs 'subtract'" in refusal(net).findings[0].what


@pytest.mark.parametrize(
    ("layer", "code"),
    [
        (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), "ND022"),
        (nn.AvgPool2d(2, divisor_override=3), "ND022"),
        (nn.MaxPool2d(2, dilation=2), "ND022"),
        (nn.MaxPool2d(3, ceil_mode=True), "ND022"),
        (nn.Conv2d(2, 2, 2, padding="same"), "ND022"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "ND024"),
        (nn.BatchNorm2d(2, track_running_stats=False), "ND022"),
        (nn.Linear(8, 8), "ND022"),
        (nn.GELU(), "ND024"),
        (nn.Softmax(dim=1), "ND024"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_layer_settings_without_counterpart(layer, code):
    """Layers whose setting no node can say are refused, naming the layer."""
    finding = refusal(nn.Sequential(layer, snn.Leaky(beta=0.9, init_hidden=True)), example(BATCH, 2, 8, 8)).findings[0]
    assert finding.code == code
    assert 'net.0"' in finding.place


def test_same_neuron_twice_per_step():
    """A neuron used in two places of a step has one membrane for both and is refused."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(8, 8), snn.Leaky(beta=0.9)

        def forward(self, x):
            mem, out = self.lif.reset_mem(), []
            for x_t in x:
                spk, mem = self.lif(self.fc(x_t), mem)
                spk, mem = self.lif(self.fc(spk), mem)
                out.append(spk)
            return torch.stack(out)

    assert {finding.code for finding in refusal(Twice()).findings} == {"ND016"}


def test_layer_used_at_some_steps_only():
    """A neuron that rests at every other step is refused."""

    class Sometimes(Net):
        def forward(self, x):
            mem1, mem2, out = self.lif1.reset_mem(), self.lif2.reset_mem(), []
            for step in range(x.shape[0]):
                spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
                if step % 2 == 0:
                    spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                out.append(spk2)
            return torch.stack(out)

    assert "3 times where others are called 6 times" in refusal(Sometimes()).findings[0].what


@pytest.mark.parametrize(
    "steps",
    [
        lambda self, x: reversed(list(x)),
        lambda self, x: [x[0], *x[:-1]],
        lambda self, x: [x[0], x[2], x[4]],
    ],
    ids=["reversed", "late", "every other"],
)
def test_input_out_of_step(steps):
    """A step that reads the input of another step is refused."""
    codes = {finding.code for finding in refusal(type("Shifted", (Net,), {"steps": steps})()).findings}
    assert codes <= {"ND016", "ND026"}
    assert codes


def test_a_loop_of_one_step_is_refused():
    """An example of one step cannot show a loop."""
    assert refusal(Net(), example(1, BATCH, 8))


def test_failing_module_is_reported_with_its_line():
    """The module's own exception becomes a finding at the user's line."""
    error = refusal(Net(), example(STEPS, BATCH, 7))
    assert error.findings[0].code == "ND013"
    assert error.findings[0].place == line_of(Net.forward, "spk1, mem1 =")


@pytest.mark.parametrize("where", ["weight", "beta", "example"])
def test_nan_is_refused(where):
    """NaN and infinity are found wherever they are."""
    net, x = Net(), example()
    if where == "weight":
        net.fc2.weight.data[1, 2] = float("nan")
    elif where == "beta":
        net.lif1.beta = torch.tensor(float("nan"))
    else:
        x[0, 0, 0] = float("inf")
    assert refusal(net, x, NetworkError).findings[0].code == "ND025"


def test_carried_sums_do_not_escape():
    """A value carried over very many steps outside of any neuron is refused, not a recursion error."""

    class Trace(Net):
        def forward(self, x):
            mem1, mem2, out, trace = self.lif1.reset_mem(), self.lif2.reset_mem(), 0, torch.zeros(BATCH, 5)
            for _ in range(900):
                spk1, mem1 = self.lif1(self.fc1(x), mem1)
                trace = trace + spk1
                spk2, mem2 = self.lif2(self.fc2(trace), mem2)
                out = out + spk2
            return out

    assert refusal(Trace(), example(BATCH, 8)).findings[0].code == "ND016"


@pytest.mark.parametrize(
    ("net", "x", "dt"),
    [("net", example(), None), (Net(), [1.0], None), (Net(), torch.rand(8), None), (Net(), example(), -1.0)],
)
def test_misuse(net, x, dt):
    """Calls that make no sense are usage errors."""
    with pytest.raises(UsageError):
        record(net, x, dt)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_are_refused():
    """Compiled code hides its operations."""
    traced = torch.jit.trace(nn.Linear(8, 3), example(BATCH, 8))
    assert refusal(nn.Sequential(traced, snn.Leaky(beta=0.9, init_hidden=True)), example(BATCH, 8))


def test_run_source_checks_its_inputs():
    """Inputs of another shape are refused before anything runs."""
    network = record(Net(), example())
    for inputs, settings in ((np.zeros((3, 2, 7)), {}), (np.zeros((3, 2, 8)), {"batch": 0})):
        with pytest.raises(NeurodeployError, match="ND008"):
            run_source(network, inputs, **settings)


def test_batches_equal_one_batch_and_progress_is_told():
    """Samples are independent; progress counts them."""
    network, x, told = record(Net(), example()), example(STEPS, 7, 8).numpy(), []
    parts = run_source(network, x, batch=3, progress=lambda done, total: told.append((done, total)))
    whole = run_source(network, x, batch=7)
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert (parts.spikes["lif2"] != whole.spikes["lif2"]).mean() < 0.01
    assert whole.executor == "pytorch (float32)"
