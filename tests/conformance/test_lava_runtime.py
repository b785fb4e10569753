"""Programs on Lava: its runtime in a supervised child, and its process models without the runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.backends.loihi2 import job
from neurodeploy.backends.loihi2.lava_models import build_models, registries_restored, step_models
from neurodeploy.backends.loihi2.network import connect, run_configuration
from neurodeploy.backends.loihi2.processes import PyConvModelWide, Recorder, SpikeInput
from neurodeploy.backends.loihi2.run import run
from neurodeploy.errors import BackendFailedError, UnsupportedError, UsageError
from neurodeploy.ir.nodes import InputKind, Reset
from neurodeploy.ir.program import (
    ConvSynapses,
    DenseSynapses,
    InputPort,
    Population,
    Program,
    Projection,
    SparseSynapses,
)
from tests.conformance.lava_programs import chain, dense, neuron, spikes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_torch_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_equal(expected, actual):
    """Two results agree in every spike and every recorded state of every population."""
    for kind in ("spikes", "currents", "voltages"):
        one, other = getattr(expected, kind), getattr(actual, kind)
        assert one.keys() == other.keys()
        for name in one:
            assert np.array_equal(one[name], other[name]), f"{kind} of {name}"


def one_by_one(program, inputs):
    """Run each sample in a start of its own."""
    return [run(program, inputs[:, [j]], on="lava-models", record_states=True) for j in range(inputs.shape[1])]


@pytest.mark.parametrize("reset", [Reset.ZERO, Reset.SUBTRACT_NEXT_STEP])
@pytest.mark.parametrize("recurrent", [False, True])
def test_runtime_and_models_agree_and_samples_do_not_touch(reset, recurrent):
    """Runtime and bare models give the same spikes and states, and a batch is the same as its samples run alone."""
    program = chain([12, 20, 8], recurrent=recurrent, reset=reset, du=2000, vth=250, bias=30, exponent=6)
    inputs = spikes((9, 3, 12))
    on_runtime = run(program, inputs, on="lava", record_states=True)
    on_models = run(program, inputs, on="lava-models", record_states=True)
    assert_equal(on_runtime, on_models)
    assert on_runtime.executor == "lava 0.10.0 runtime"
    assert on_models.executor == "lava 0.10.0 process models, no runtime"
    assert on_runtime.steps_on_chip == on_models.steps_on_chip == 2 + 2 * (9 + recurrent) + 9
    assert on_runtime.spikes["layer2"].shape == (9, 3, 8)
    assert 0.05 < on_runtime.spikes["layer2"].mean() < 0.95
    for j, alone in enumerate(one_by_one(program, inputs)):
        for kind in ("spikes", "currents", "voltages"):
            for name, values in getattr(on_models, kind).items():
                assert np.array_equal(values[:, [j]], getattr(alone, kind)[name]), f"{kind} of {name}, sample {j}"


def test_first_step_of_each_layer_answers_the_first_input():
    """Recorded steps have the latency taken out: activations are 2 mantissa x the source's spikes of the same step."""
    program = chain([12, 20, 8], vth=100)
    inputs = spikes((6, 2, 12), seed=1)
    result = run(program, inputs, on="lava-models", record_states=True)
    sent = {"input": inputs} | {name: values.astype(int) for name, values in result.spikes.items()}
    for projection in program.projections:
        expected = sent[projection.source] @ (2 * projection.synapses.mantissa.astype(int)).T
        assert np.array_equal(expected << 6, result.currents[projection.target])


def test_recurrent_input_is_the_spikes_of_the_step_before():
    """The current is forward input of this step plus feedback of the last; the first step has no feedback."""
    program = chain([12, 20], recurrent=True, vth=60)
    inputs = spikes((7, 3, 12), seed=2)
    result = run(program, inputs, on="lava-models", record_states=True)
    forward, back = (2 * projection.synapses.mantissa.astype(int) for projection in program.projections)
    fired = result.spikes["layer1"].astype(int)
    before = np.concatenate((np.zeros_like(fired[:1]), fired[:-1]))
    assert np.array_equal((inputs @ forward.T + before @ back.T) << 6, result.currents["layer1"])
    assert before.any()


@pytest.mark.parametrize(("bits", "exponent", "sparse"), [(8, 0, False), (12, -3, False), (16, -8, True), (8, 3, True)])
def test_graded_payloads_are_multiplied_and_shifted(bits, exponent, sparse):
    """Signed payloads of any width and sums far beyond 16 bits arrive whole; a negative exponent floors."""
    rng = np.random.default_rng(bits)
    mantissa = np.where(rng.random((7, 30)) < 0.5, rng.integers(-127, 128, (7, 30)), 0).astype(np.int8)
    synapses = compressed(mantissa) if sparse else DenseSynapses(mantissa)
    high = 2**bits - 1
    program = Program(
        InputPort("input", (30,), InputKind.GRADED, bits=bits, low=-high, high=high),
        (Population("p", (7,), neuron(vth=131071), 1, 64.0),),
        (Projection("w", "input", "p", synapses, exponent),),
        "p",
    )
    inputs = rng.integers(-high, high + 1, (5, 2, 30)).astype(np.int32)
    total = inputs.astype(np.int64) @ (2 * mantissa.astype(np.int64)).T
    expected = total << exponent if exponent >= 0 else total >> -exponent
    assert np.abs(total).max() > 2**15
    result = run(program, inputs, on="lava-models", record_states=True)
    inside = np.abs(expected << 6) < 2**23
    assert inside.any()
    assert np.array_equal((expected << 6)[inside], result.currents["p"][inside])


def compressed(mantissa):
    """Return a matrix as compressed rows."""
    rows = [np.flatnonzero(row) for row in mantissa]
    return SparseSynapses(
        np.concatenate([row[columns] for row, columns in zip(mantissa, rows, strict=True)]),
        np.concatenate(rows).astype(np.int32),
        np.cumsum([0, *(len(columns) for columns in rows)]).astype(np.int64),
    )


def test_bias_and_thresholds_per_neuron_keep_their_place():
    """Each neuron of a (channel, y, x) population gets its own bias, in the current where asked, and threshold."""
    bias, vth = np.arange(12) * 10, np.arange(12)[::-1] * 20
    program = chain([3, 12], bias=bias, vth=vth, exponent=6, in_current=True)
    shaped = replace(program, populations=(replace(program.populations[0], shape=(2, 3, 2)),))
    result = run(shaped, np.zeros((1, 1, 3), np.int32), on="lava-models", record_states=True)
    assert np.array_equal((bias << 6).reshape(2, 3, 2), result.currents["layer1"][0, 0])
    assert np.array_equal((bias > vth).reshape(2, 3, 2), result.spikes["layer1"][0, 0])


@pytest.mark.parametrize("bias", [0, 40])
def test_embedded_network_without_schedule_is_one_endless_sample(bias):
    """Fed from a port of one's own, populations do what they do in a run, from the first input on."""
    program = chain([12, 20, 8], du=2000, vth=250, bias=bias, exponent=6)
    inputs = spikes((15, 1, 12), seed=6)
    with registries_restored():
        source = SpikeInput(samples=inputs.swapaxes(0, 1))
        embedded = connect(program, source.s_out)
        listener = Recorder(shape=(8,), steps=15, first_step=1 + program.latency_steps)
        embedded.output.connect(listener.a_in)
        step_models(build_models(source, run_configuration()), 15 + program.latency_steps)
    expected = run(program, inputs, on="lava-models").spikes["layer2"][:, 0]
    assert np.array_equal(expected, listener.data)
    assert expected.any()


GEOMETRIES = {
    # name: (input shape, output channels, kernel, stride, padding, dilation, groups)
    "plain": ((1, 5, 7), 2, (2, 3), (1, 1), (0, 0), (1, 1), 1),
    "all different": ((2, 9, 7), 4, (3, 2), (2, 1), (1, 2), (1, 1), 1),
    "dilated groups": ((4, 9, 11), 6, (3, 2), (2, 3), (2, 1), (2, 3), 2),
    "depthwise": ((4, 6, 5), 4, (2, 2), (2, 2), (0, 0), (1, 1), 4),
    "130 wide": ((1, 130, 129), 2, (3, 5), (2, 2), (1, 1), (1, 1), 1),
    "130 groups": ((130, 3, 4), 130, (1, 2), (1, 1), (0, 0), (1, 1), 130),
}


def convolution(shape, channels, kernel, stride, padding, dilation, groups, kind=InputKind.SPIKES):
    """Return input -> convolution -> dense, and both as PyTorch computes them."""
    rng = np.random.default_rng(sum(shape))
    mantissa = rng.integers(-60, 61, (channels, shape[0] // groups, *kernel)).astype(np.int8)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def convolve(x):
        weight = 2 * torch.from_numpy(mantissa).double()
        steps, samples = x.shape[:2]
        flat = torch.from_numpy(x.reshape(-1, *shape)).double()
        y = torch.nn.functional.conv2d(flat, weight, **geometry).numpy().astype(np.int64)
        return y.reshape(steps, samples, *y.shape[1:])

    output_shape = convolve(np.zeros((1, 1, *shape))).shape[2:]
    head = rng.integers(-60, 61, (5, int(np.prod(output_shape)))).astype(np.int8)
    port = InputPort("input", shape, kind, bits=8, low=-255, high=255)
    populations = (
        Population("conv", output_shape, neuron(dv=0, vth=300), 1, 64.0),
        Population("head", (5,), neuron(vth=300), 2, 64.0),
    )
    synapses = ConvSynapses(mantissa, shape, output_shape, **geometry)
    projections = (Projection("to conv", "input", "conv", synapses), dense("to head", "conv", "head", head))
    return Program(port, populations, projections, "head"), convolve, head


@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolutions_equal_pytorch(name):
    """Currents of a convolution are torch.conv2d's, in (channel, y, x), and the dense layer reads them in C order."""
    program, convolve, head = convolution(*GEOMETRIES[name])
    inputs = spikes((4, 2, *program.input.shape), seed=3)
    result = run(program, inputs, on="lava-models", record_states=True)
    assert np.array_equal(convolve(inputs) << 6, result.currents["conv"])
    flat = result.spikes["conv"].reshape(4, 2, -1).astype(int)
    assert flat.any()
    assert np.array_equal(flat @ (2 * head.astype(int)).T << 6, result.currents["head"])


def test_convolution_of_one_impulse_shows_the_kernel():
    """A spike at one pixel paints the kernel, turned around as in every cross-correlation, twice the mantissa."""
    program, _, _ = convolution((1, 5, 7), 1, (2, 3), (1, 1), (1, 2), (1, 1), 1)
    impulse = np.zeros((1, 1, 1, 5, 7), np.int32)
    impulse[..., 3, 1] = 1
    result = run(program, impulse, on="lava-models", record_states=True)
    image = result.currents["conv"][0, 0, 0] >> 6
    kernel = 2 * program.projections[0].synapses.mantissa[0, 0].astype(int)
    assert np.array_equal(kernel[::-1, ::-1], image[3:5, 1:4])
    assert np.count_nonzero(image) == np.count_nonzero(kernel)


def test_convolution_of_graded_input_on_the_runtime():
    """The real runtime agrees with PyTorch on a strided, dilated, grouped convolution of signed payloads."""
    program, convolve, _ = convolution(*GEOMETRIES["dilated groups"], kind=InputKind.GRADED)
    inputs = np.random.default_rng(4).integers(-255, 256, (3, 2, 4, 9, 11)).astype(np.int32)
    result = run(program, inputs, on="lava", record_states=True)
    assert np.array_equal(convolve(inputs) << 6, result.currents["conv"])
    assert_equal(result, run(program, inputs, on="lava-models", record_states=True))


def test_stock_conv_fails_from_128_on():
    """The reason for PyConvModelWide: Lava's own Conv model keeps its geometry in 8 bits, too few under NumPy 2."""
    from lava.proc.conv import utils

    weight = np.ones((1, 1, 1, 1), np.int32)
    geometry = (np.ones(2, np.int8), np.ones(2, np.int8), np.zeros(2, np.int8), np.ones(2, np.int8), np.int8(1))
    with pytest.raises(OverflowError):
        utils.conv(np.ones((130, 3, 1), np.int32), weight, *geometry)
    assert all(getattr(PyConvModelWide, name).d_type is np.int64 for name in ("kernel_size", "stride", "groups"))


def test_misfits_are_refused_before_anything_starts():
    """Latencies that contradict the connections, an exponent on a convolution, wrong inputs and names are refused."""
    program = chain([3, 4])
    late = replace(program, populations=(replace(program.populations[0], latency_steps=2),))
    with pytest.raises(UnsupportedError, match="ND305"):
        run(late, spikes((2, 1, 3)))
    conv, _, _ = convolution(*GEOMETRIES["plain"])
    shifted = replace(conv, projections=(replace(conv.projections[0], exponent=1), conv.projections[1]))
    with pytest.raises(UnsupportedError, match="ND306"):
        run(shifted, spikes((2, 1, 1, 5, 7)), on="lava-models")
    with pytest.raises(UsageError, match="ND307"):
        run(program, spikes((2, 1, 4)))
    with pytest.raises(UsageError, match="ND307"):
        run(program, spikes((2, 1, 3)), on="loihi")


@pytest.fixture
def temporary(monkeypatch):
    """Yield the directory for temporary files of this test's runs, with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="nd-test-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture
def left_behind(temporary):
    """Return a function that lists what this test's runs left: processes, shared memory, files."""
    shared_memory = Path("/dev/shm")
    before = unused(shared_memory)

    def leftovers():
        deadline = time.monotonic() + 5
        while True:
            found = [*running(temporary), *(unused(shared_memory) - before), *temporary.iterdir()]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    return leftovers


def unused(shared_memory):
    """Return the segments that exist and that no process maps, which is what a leak looks like."""
    segments, mapped = set(shared_memory.iterdir()), set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            mapped |= {Path(line.split()[-1]) for line in maps.read_text().splitlines() if "/dev/shm/" in line}
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return segments - mapped


def running(directory):
    """Return the ids of living processes with `directory` in their command line; zombies have none."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory).encode() in command.read_bytes() and int(command.parent.name) != os.getpid():
                found.append(int(command.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_success_leaves_nothing_behind(left_behind):
    """After a run no process, no shared memory and no file is left, and the caller heard of the last step."""
    heard = []
    run(chain([5, 5]), spikes((5, 4, 5)), progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (21, 21)
    assert left_behind() == []


def test_failure_inside_lava_is_reported_with_its_traceback(left_behind, monkeypatch):
    """A model that raises while others wait for it, where Lava hangs for ever, is reported at once with its reason."""
    write_job = job.write_job

    def write_words(directory, program, samples, record_states):
        write_job(directory, program, samples.astype("U8"), record_states)
        np.save(directory / "samples.npy", np.full(samples.shape, "not a number"))

    monkeypatch.setattr(job, "write_job", write_words)
    begin = time.monotonic()
    with pytest.raises(BackendFailedError, match="ND303") as failure:
        run(chain([5, 5]), spikes((5, 1, 5)))
    assert "not a number" in str(failure.value)
    assert "spike_input.py" in str(failure.value)
    assert time.monotonic() - begin < 20
    assert left_behind() == []


def test_failure_before_the_run_is_reported_with_its_traceback(left_behind, monkeypatch):
    """A worker that cannot even read its job says so."""
    monkeypatch.setattr(job, "write_job", lambda directory, *job: np.zeros(1, np.int64).tofile(directory / "clock"))
    with pytest.raises(BackendFailedError, match=r"(?s)ND303.*program\.json"):
        run(chain([5, 5]), spikes((5, 1, 5)))
    assert left_behind() == []


def test_time_limit_ends_everything(left_behind):
    """A run that takes longer than allowed is given up, and says how far it came."""
    with pytest.raises(BackendFailedError, match=r"ND304"):
        run(chain([5, 5]), spikes((50, 2000, 5)), timeout_s=5)
    assert left_behind() == []


def test_interrupt_ends_everything(left_behind):
    """Ctrl-C during a run ends Lava's processes too."""

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(chain([5, 5]), spikes((50, 2000, 5)), progress=interrupt)
    assert left_behind() == []


def test_worker_dies_with_its_parent(left_behind, temporary):
    """When the calling process is killed outright, no process, shared memory or file outlives it."""
    script = "\n".join([
        "import os, signal",
        "from tests.conformance.lava_programs import chain, spikes",
        "from neurodeploy.backends.loihi2.run import run",
        "kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL)",
        "run(chain([5, 5]), spikes((50, 2000, 5)), progress=kill)",
    ])  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    caller = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert caller.returncode == -signal.SIGKILL
    assert left_behind() == []


def test_example_embeds_populations_in_a_lava_program():
    """The example runs as a Lava user would run it."""
    example = ROOT / "examples" / "02_embed_in_lava.py"
    done = subprocess.run(
        [sys.executable, str(example)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "spikes" in done.stdout
