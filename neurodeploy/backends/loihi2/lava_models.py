"""Steps Lava's own process models in this process, without its runtime.

Compilation, model selection, ports and arithmetic are Lava's; only the operating-system processes, the semaphores and
the barrier per step are left out. A connection (Dense, Sparse, Conv) sends in each step what it summed up in the step
before, so all connections can announce first; after that, every model finds its input ready, in loops too.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter

import numpy as np

from neurodeploy.backends.loihi2.lava_compat import require_lava

require_lava()

# isort: split
from lava.magma.compiler.channels.interfaces import Channel, ChannelType  # noqa: E402
from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspSendPort  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.process.ports.ports import create_port_id  # noqa: E402
from lava.magma.core.process.process import AbstractProcess, ProcessServer  # noqa: E402
from lava.magma.core.process.variable import VarServer  # noqa: E402
from lava.magma.core.run_configs import RunConfig  # noqa: E402
from lava.proc.conv.models import AbstractPyConvModel  # noqa: E402
from lava.proc.dense.models import AbstractPyDenseModelBitAcc, AbstractPyDenseModelFloat  # noqa: E402
from lava.proc.sparse.models import AbstractPySparseModelBitAcc, AbstractPySparseModelFloat  # noqa: E402

CONNECTIONS = (
    AbstractPyConvModel,
    AbstractPyDenseModelBitAcc,
    AbstractPyDenseModelFloat,
    AbstractPySparseModelBitAcc,
    AbstractPySparseModelFloat,
)
"""The models that send before they receive."""
REPORT_S = 0.2


class DirectSendPort(CspSendPort):
    """Puts messages into a queue of this process, in the channel's shape and dtype as Lava's shared memory does."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: type, queue: deque[np.ndarray]) -> None:
        self._name, self._shape, self._dtype, self.queue = name, shape, dtype, queue
        self.announced = False

    def send(self, data: np.ndarray) -> None:
        if self.announced:
            self.announced = False
            return
        if data.shape != self._shape:
            raise ValueError(f"{self._name} sends {data.shape} into a channel of {self._shape}")
        message: np.ndarray = np.empty(self._shape, self._dtype)
        message[...] = data
        self.queue.append(message)

    def announce(self, data: np.ndarray) -> None:
        """Send what the model is about to send, and skip its own call."""
        self.send(data)
        self.announced = True

    def start(self) -> None:
        """Nothing to start: no thread listens."""

    def join(self) -> None:
        """Nothing to wait for."""


class DirectRecvPort(CspRecvPort):
    """Takes messages from a queue of this process."""

    def __init__(self, name: str, queue: deque[np.ndarray]) -> None:
        self._name, self.queue = name, queue

    def recv(self) -> np.ndarray:
        return self.queue.popleft()

    def peek(self) -> np.ndarray:
        return self.queue[0]

    def probe(self) -> bool:
        return bool(self.queue)

    def start(self) -> None:
        """Nothing to start: no thread listens."""

    def join(self) -> None:
        """Nothing to wait for."""


class DirectChannel(Channel):
    """A queue with Lava's two ports; built where Lava would build shared memory."""

    def __init__(
        self,
        infrastructure: DirectInfrastructure,
        source_name: str,
        target_name: str,
        shape: tuple[int, ...],
        dtype: type,
        size: int,
        *watchdogs: object,
    ) -> None:
        queue: deque[np.ndarray] = deque()
        self._src_port = DirectSendPort(source_name, shape, dtype, queue)
        self._dst_port = DirectRecvPort(target_name, queue)

    @property
    def src_port(self) -> DirectSendPort:
        return self._src_port

    @property
    def dst_port(self) -> DirectRecvPort:
        return self._dst_port


class DirectInfrastructure:
    """What Lava's channel builders ask for a channel class."""

    def channel_class(self, channel_type: ChannelType) -> type[DirectChannel]:
        return DirectChannel


def step_models(
    models: list[PyLoihiProcessModel], steps: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Step `models` for `steps` time steps.

    Args:
        models: all of one network, in the order of `build_models`.
        steps: how many.
        progress: called with the steps done and `steps`, a few times a second and at the end.
    """
    connections = [model for model in models if isinstance(model, CONNECTIONS)]
    reported = time.monotonic()
    for step in range(1, steps + 1):
        for model in connections:
            outgoing = model.a_buf if isinstance(model, AbstractPyConvModel) else model.a_buff
            for port in model.a_out.csp_ports:
                port.announce(outgoing)
        for model in models:
            model.time_step += 1
            model.run_spk()
        for model in models:
            if model.lrn_guard():
                model.run_lrn()
        if progress is not None and (step == steps or time.monotonic() - reported > REPORT_S):
            reported = time.monotonic()
            progress(step, steps)


def build_models(process: AbstractProcess, configuration: RunConfig) -> list[PyLoihiProcessModel]:
    """Compile with Lava's compiler, and build every model connected to `process` in this process, joined by queues.

    Returns them in an order in which every receiver follows its sender, connections as senders left out.
    """
    executable = process.compile(configuration)
    watchdogs = executable.watchdog_manager_builder.build()
    infrastructure = DirectInfrastructure()
    senders: dict[AbstractProcess, set[AbstractProcess]] = {name: set() for name in executable.proc_builders}
    for builder in executable.channel_builders:
        channel = builder.build(infrastructure, watchdogs)
        executable.proc_builders[builder.src_process].set_csp_ports([channel.src_port])
        receiver = executable.proc_builders[builder.dst_process]
        receiver.set_csp_ports([channel.dst_port])
        port_id = create_port_id(builder.src_process.id, builder.src_port_initializer.name)
        receiver.add_csp_port_mapping(port_id, channel.dst_port)
        if not issubclass(executable.proc_builders[builder.src_process].proc_model, CONNECTIONS):
            senders[builder.dst_process].add(builder.src_process)
    order = TopologicalSorter(senders).static_order()
    return [executable.proc_builders[ready].build() for ready in order]


@contextmanager
def registries_restored() -> Iterator[None]:
    """Leave Lava's global lists of Processes and Vars, and the log handlers it adds, as they were before."""
    loggers = [logging.getLogger(), logging.getLogger("lava.magma.compiler.compiler")]
    handlers = [list(logger.handlers) for logger in loggers]
    processes, variables = list(ProcessServer().processes), list(VarServer().vars)
    try:
        yield
    finally:
        ProcessServer().processes[:] = processes
        VarServer().vars[:] = variables
        for logger, before in zip(loggers, handlers, strict=True):
            logger.handlers[:] = before
