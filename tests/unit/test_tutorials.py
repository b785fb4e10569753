"""Networks written the way snnTorch's tutorials and its users write them: the same spikes, then a compiled model.

Each accepted one is recorded, run again by `run_source` against snnTorch itself, and compiled for loihi2-sim.
"""

import inspect

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn
from torch.nn import functional as F

from neurodeploy.errors import UnsupportedError
from neurodeploy.frontends.recording import record
from neurodeploy.frontends.source import run_source
from neurodeploy.lowering import lower
from neurodeploy.pipeline import compile as compile_model

STEPS, BATCH = 8, 3


@pytest.fixture(autouse=True)
def _seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    yield
    torch.set_num_threads(threads)


def assert_recorded(net, example, inputs, run=None):
    """Hold the record of `net` against the spikes of `run(example)`, and compile it.

    Args:
        inputs: what `run_source` takes for `example`: (step, sample, *one step's input).
        run: returns snnTorch's own output spikes (step, sample, neuron); the net's first result by default.
    """
    network = record(net, example)
    net.eval()
    with torch.no_grad():
        expected = run(example) if run else net(example)
    expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
    assert 0 < expected.mean() < 1
    actual = run_source(network, inputs.numpy()).spikes[network.output]
    np.testing.assert_array_equal(actual, expected)
    model = compile_model(network, "loihi2-sim")
    assert model.program.output == network.output
    return network


def over_steps(x):
    """The same input at every step, as a static image is injected."""
    return x.expand(STEPS, *x.shape)


# Dense networks: the input is static, or one index of a time axis per step


class Dense(nn.Module):
    """A two-layer net in which a static input is presented `num_steps` times; states are local variables."""

    def __init__(self, num_inputs=12, num_hidden=20, num_outputs=6, beta=0.95, num_steps=STEPS):
        super().__init__()
        self.num_steps = num_steps
        self.fc1 = nn.Linear(num_inputs, num_hidden)
        self.lif1 = snn.Leaky(beta=beta, threshold=0.4)
        self.fc2 = nn.Linear(num_hidden, num_outputs)
        self.lif2 = snn.Leaky(beta=beta, threshold=0.2)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec = []
        mem2_rec = []
        for _ in range(self.num_steps):
            cur1 = self.fc1(x)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


def test_a_dense_net_with_static_input():
    x = torch.rand(BATCH, 12)
    network = assert_recorded(Dense(), x, over_steps(x))
    assert list(network.populations) == ["lif1", "lif2"]


def test_an_image_flattened_in_forward():
    class Flattening(Dense):
        def forward(self, x):
            return super().forward(x.view(x.size(0), -1))

    x = torch.rand(BATCH, 1, 3, 4)
    assert_recorded(Flattening(), x, over_steps(x))


def test_layers_applied_once_before_the_loop():
    """A static current computed once is the current of every step."""

    class Once(Dense):
        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            cur1 = self.fc1(x)
            spikes = []
            for _ in range(self.num_steps):
                spk1, mem1 = self.lif1(cur1, mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                spikes.append(spk2)
            return torch.stack(spikes)

    x = torch.rand(BATCH, 12)
    assert_recorded(Once(), x, over_steps(x))


def test_batch_first_sequences():
    class BatchFirst(Dense):
        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            spikes = []
            for t in range(x.size(1)):
                spk1, mem1 = self.lif1(self.fc1(x[:, t]), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                spikes.append(spk2)
            return torch.stack(spikes, dim=0)

    x = (torch.rand(BATCH, STEPS, 12) < 0.5).float()
    assert_recorded(BatchFirst(), x, x.transpose(0, 1))


def test_spikes_preallocated_and_returned_batch_first():
    """The decision stays the same whatever the order of the returned axes."""

    class Filling(Dense):
        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            out = torch.zeros(x.size(0), x.size(1), 6, device=x.device)
            for t in range(x.size(1)):
                spk1, mem1 = self.lif1(self.fc1(x[:, t, :]), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                out[:, t] = spk2
            return out

    net, x = Filling(), (torch.rand(BATCH, STEPS, 12) < 0.5).float()
    assert_recorded(net, x, x.transpose(0, 1), lambda x: net(x).transpose(0, 1))


# Layers applied to all steps at once


class WholeSequence(Dense):
    """The first layer is applied to all steps in front of the loop; `currents` returns what its steps read."""

    def currents(self, x):
        return self.fc1(x)

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes = []
        for current in self.currents(x):
            spk1, mem1 = self.lif1(current, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class MergedAxes(WholeSequence):
    def currents(self, x):
        return self.fc1(x.reshape(x.size(0) * x.size(1), -1)).view(x.size(0), x.size(1), -1)


class BatchFirstSequence(WholeSequence):
    def currents(self, x):
        return self.fc1(x.transpose(0, 1)).unbind(1)


class LayerByLayer(WholeSequence):
    """Every neuron runs through all steps before the next layer begins."""

    def forward(self, x):
        first, _ = self.through_time(self.lif1, self.fc1(x))
        second, mem2 = self.through_time(self.lif2, self.fc2(first))
        return second, mem2

    def through_time(self, neuron, currents):
        mem, spikes = neuron.reset_mem(), []
        for current in currents:
            spk, mem = neuron(current, mem)
            spikes.append(spk)
        return torch.stack(spikes), mem


@pytest.mark.parametrize("kind", [WholeSequence, MergedAxes, BatchFirstSequence, LayerByLayer])
def test_layers_applied_to_all_steps_at_once(kind):
    """A layer over the whole sequence is the same layer at every step."""
    x = (torch.rand(STEPS, BATCH, 12) < 0.5).float()
    network = assert_recorded(kind(), x, x)
    assert network.input_node.shape == (12,)
    assert [edge.source for edge in network.incoming("lif1")] == ["fc1"]


@pytest.mark.parametrize(
    ("rearrange", "code"),
    [
        (lambda currents: currents.flip(0), "ND026"),
        (lambda currents: currents.roll(1, 0), "ND026"),
        (lambda currents: currents[:, [1, 0, 2]], "ND014"),
        (lambda currents: currents.flip(2), "ND014"),
    ],
    ids=["backwards", "a step late", "samples swapped", "neurons swapped"],
)
def test_steps_read_out_of_order_are_refused(rearrange, code):
    class Rearranged(WholeSequence):
        def currents(self, x):
            return rearrange(self.fc1(x))

    with pytest.raises(UnsupportedError) as caught:
        record(Rearranged(), torch.rand(STEPS, BATCH, 12))
    assert code in [finding.code for finding in caught.value.findings]


def test_a_channel_is_no_step():
    """A convolution without a batch axis has channels where others have steps, and they are not the same layer."""

    class Unbatched(Dense):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(STEPS, STEPS, 3, padding=1)
            self.lif2 = snn.Leaky(beta=0.9, threshold=0.1)

        def forward(self, x):
            mem, spikes = self.lif2.reset_mem(), []
            for current in self.conv(x):
                spk, mem = self.lif2(current, mem)
                spikes.append(spk)
            return torch.stack(spikes)

    with pytest.raises(UnsupportedError) as caught:
        record(Unbatched(), torch.rand(STEPS, BATCH, 12))
    assert "ND014" in [finding.code for finding in caught.value.findings]


# Convolutions


class Convolutional(nn.Module):
    """Convolution, pooling of the current, neuron, twice; then a dense layer. `pool` is a function of a tensor."""

    pool = staticmethod(lambda x: F.max_pool2d(x, 2))

    def __init__(self, num_steps=STEPS):
        super().__init__()
        self.num_steps = num_steps
        spike_grad = surrogate.fast_sigmoid(slope=25)
        self.conv1 = nn.Conv2d(1, 4, 5, padding=2)
        self.lif1 = snn.Leaky(beta=0.5, threshold=0.3, spike_grad=spike_grad)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.lif2 = snn.Leaky(beta=0.5, threshold=0.2, spike_grad=spike_grad)
        self.fc1 = nn.Linear(6 * 2 * 2, 5)
        self.lif3 = snn.Leaky(beta=0.5, threshold=0.1, spike_grad=spike_grad)

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spk3_rec = []
        mem3_rec = []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.pool(self.conv1(x)), mem1)
            spk2, mem2 = self.lif2(self.pool(self.conv2(spk1)), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(x.size(0), -1)), mem3)
            spk3_rec.append(spk3)
            mem3_rec.append(mem3)
        return torch.stack(spk3_rec), torch.stack(mem3_rec)


class AveragePooled(Convolutional):
    pool = staticmethod(lambda x: F.avg_pool2d(x, 2))


def test_a_maximum_over_currents_is_refused_where_it_stands():
    """Both pools are named at once, with the way out."""
    network = record(Convolutional(), torch.rand(BATCH, 1, 12, 12))
    with pytest.raises(UnsupportedError) as caught:
        lower(network)
    assert [finding.code for finding in caught.value.findings] == ["ND130", "ND130"]
    first = caught.value.findings[0]
    assert __file__ in first.place
    assert "after" in first.fix
    assert "AvgPool2d" in first.fix or "average" in first.fix


def test_a_convolutional_net_with_average_pooling():
    x = torch.rand(BATCH, 1, 12, 12)
    assert_recorded(AveragePooled(), x, over_steps(x))


def test_a_maximum_after_the_neuron():
    """Over spikes a maximum is a logical or, which neurons can compute."""

    class PooledSpikes(AveragePooled):
        def forward(self, x):
            mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
            spikes = []
            for _ in range(self.num_steps):
                spk1, mem1 = self.lif1(self.conv1(x), mem1)
                spk2, mem2 = self.lif2(self.pool(self.conv2(F.max_pool2d(spk1, 2))), mem2)
                spk3, mem3 = self.lif3(self.fc1(spk2.flatten(1)), mem3)
                spikes.append(spk3)
            return torch.stack(spikes)

    x = torch.rand(BATCH, 1, 12, 12)
    assert_recorded(PooledSpikes(), x, over_steps(x))


def test_a_convolution_over_steps_and_samples_merged():
    """Event-camera loaders give (step, sample, channel, y, x), and a convolution takes four axes."""

    class Merged(AveragePooled):
        def forward(self, x):
            steps, samples = x.shape[:2]
            currents = self.pool(self.conv1(x.flatten(0, 1))).unflatten(0, (steps, samples))
            mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
            spikes = []
            for step in range(steps):
                spk1, mem1 = self.lif1(currents[step], mem1)
                spk2, mem2 = self.lif2(self.pool(self.conv2(spk1)), mem2)
                spk3, mem3 = self.lif3(self.fc1(spk2.flatten(1)), mem3)
                spikes.append(spk3)
            return torch.stack(spikes)

    x = (torch.rand(STEPS, BATCH, 1, 12, 12) < 0.4).float()
    assert_recorded(Merged(), x, x)


# Hidden states


def sequential():
    """Hidden states live in the neurons, and the last neuron returns its membrane as well."""
    spike_grad = surrogate.atan()
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.AvgPool2d(2),
        snn.Leaky(beta=0.7, spike_grad=spike_grad, init_hidden=True, threshold=0.15),
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 5),
        snn.Leaky(beta=0.7, spike_grad=spike_grad, init_hidden=True, output=True, threshold=0.1),
    )


def forward_pass(net, data):
    """The training loop's own way through time: reset, then one call per step."""
    spk_rec = []
    utils.reset(net)
    for step in range(data.size(0)):
        spk_out, _ = net(data[step])
        spk_rec.append(spk_out)
    return torch.stack(spk_rec)


def test_a_sequential_net_with_hidden_states_driven_step_by_step():
    """The example is one call's input; time lies outside the module."""
    net, data = sequential(), (torch.rand(STEPS, BATCH, 2, 8, 8) < 0.3).float()
    network = record(net, data[0])
    net.eval()
    with torch.no_grad():
        expected = forward_pass(net, data).numpy()
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(run_source(network, data.numpy()).spikes[network.output], expected)
    compile_model(network, "loihi2-sim")


def test_a_loop_around_hidden_states_inside_the_module():
    class Looping(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = sequential()

        def forward(self, data):
            return forward_pass(self.net, data)

    data = (torch.rand(STEPS, BATCH, 2, 8, 8) < 0.3).float()
    assert_recorded(Looping(), data, data)


# Other neurons


class Recurrent(nn.Module):
    """One hidden layer of any kind of neuron, states handed back as its forward returns them."""

    def __init__(self, neuron):
        super().__init__()
        self.fc1, self.hidden = nn.Linear(10, 12), neuron
        self.fc2, self.out = nn.Linear(12, 4), snn.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x):
        states, mem2 = self.hidden.reset_mem(), self.out.reset_mem()
        spikes = []
        for step in range(x.shape[0]):
            states = self.advance(self.fc1(x[step]), states)
            spk2, mem2 = self.out(self.fc2(states[0]), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)

    def advance(self, current, states):
        return self.hidden(current, *states)


class Current(Recurrent):
    """A Synaptic neuron takes its current and membrane, but not its spikes."""

    def advance(self, current, states):
        return self.hidden(current, *states[-2:])


@pytest.mark.parametrize(
    ("kind", "neuron"),
    [
        (Current, lambda: snn.Synaptic(alpha=0.8, beta=0.9, threshold=0.5)),
        (Recurrent, lambda: snn.RLeaky(beta=0.9, threshold=0.4, linear_features=12)),
        (Recurrent, lambda: snn.RLeaky(beta=0.9, threshold=0.4, all_to_all=False, V=0.3)),
        (Recurrent, lambda: snn.RSynaptic(alpha=0.7, beta=0.9, threshold=0.6, linear_features=12)),
    ],
    ids=["Synaptic", "RLeaky", "RLeaky one to one", "RSynaptic"],
)
def test_second_order_and_recurrent_neurons(kind, neuron):
    x = (torch.rand(STEPS, BATCH, 10) < 0.5).float()
    assert_recorded(kind(neuron()), x, x)


def test_learned_decays_and_thresholds_per_neuron():
    """Vectors of beta and threshold, random as after training."""

    class Learned(Dense):
        def __init__(self):
            super().__init__()
            self.lif1 = snn.Leaky(beta=torch.rand(20), threshold=torch.rand(20), learn_beta=True, learn_threshold=True)
            self.lif2 = snn.Leaky(beta=torch.rand(6), threshold=0.2, learn_beta=True)

    x = torch.rand(BATCH, 12)
    network = assert_recorded(Learned(), x, over_steps(x))
    assert network.populations["lif1"].beta.shape == (20,)


# Layers around the neurons


def test_dropout_and_batch_norm_after_training():
    """What training left in the running statistics is folded in; dropout is the identity."""

    class Regularized(Dense):
        def __init__(self):
            super().__init__()
            self.bn1, self.drop = nn.BatchNorm1d(20), nn.Dropout(0.3)

        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            spikes = []
            for _ in range(self.num_steps):
                spk1, mem1 = self.lif1(self.bn1(self.fc1(x)), mem1)
                spk2, mem2 = self.lif2(self.fc2(self.drop(spk1)), mem2)
                spikes.append(spk2)
            return torch.stack(spikes)

    net = Regularized().train()
    for _ in range(3):
        net(torch.rand(16, 12))
    x = torch.rand(BATCH, 12)
    assert_recorded(net, x, over_steps(x))


def test_a_population_code_is_decided_outside():
    """Ten neurons per class are read out as they are; who groups them does so on the returned spikes."""
    x = torch.rand(BATCH, 12)
    assert_recorded(Dense(num_outputs=30), x, over_steps(x))


def test_a_rate_is_a_count_over_a_number():
    """Counts divided by the number of steps decide as the counts do, so the same network is read."""

    class Rate(Dense):
        def forward(self, x):
            spikes, _ = super().forward(x)
            return spikes.sum(dim=0) / self.num_steps

    net, x = Rate(), torch.rand(BATCH, 12)
    network = record(net, x)
    spikes = run_source(network, over_steps(x).numpy()).spikes[network.output]
    with torch.no_grad():
        np.testing.assert_array_equal(spikes.sum(axis=0) / STEPS, net(x).numpy())


def test_a_population_code_grouped_inside_is_refused_with_its_line():
    class Grouped(Dense):
        def forward(self, x):
            spikes, _ = super().forward(x)
            return spikes.view(self.num_steps, x.size(0), 3, 10).sum(-1)

    with pytest.raises(UnsupportedError) as caught:
        record(Grouped(num_outputs=30), torch.rand(BATCH, 12))
    (finding,) = caught.value.findings
    assert finding.code == "ND019"
    assert finding.place == f"{__file__}:{line_of(Grouped, '.sum(-1)')}"


def test_an_activation_function_is_refused_with_its_line():
    class Activated(Dense):
        def forward(self, x):
            mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
            spikes = []
            for _ in range(self.num_steps):
                spk1, mem1 = self.lif1(F.relu(self.fc1(x)), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                spikes.append(spk2)
            return torch.stack(spikes)

    with pytest.raises(UnsupportedError) as caught:
        record(Activated(), torch.rand(BATCH, 12))
    (finding,) = caught.value.findings
    assert finding.code == "ND014"
    assert finding.place == f"{__file__}:{line_of(Activated, 'F.relu')}"
    assert "relu" in finding.what


def line_of(kind, text):
    """Return the number of the first line of a class that holds `text`."""
    lines, first = inspect.getsourcelines(kind)
    return first + next(i for i, line in enumerate(lines) if text in line)
