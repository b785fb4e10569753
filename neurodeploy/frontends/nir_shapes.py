"""Follow the shapes of a NIR graph from its Input on, and give every node parameters that fit what it reads.

A file says the shape of some nodes and not of others, and what it says may contradict: axes of length 1 that count
batches, one number in place of one per neuron, a missing Flatten. Values run in C order everywhere, so where the sizes
agree there is one reading; it is taken and recorded. Where they do not agree the graph is refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from neurodeploy.errors import Finding, LoadError, raise_all
from neurodeploy.frontends.nir_graph import CONVOLUTIONS, NEURONS, OPTIONAL, POOLS, Field, Graph, Record, Repair
from neurodeploy.ir.nodes import AveragePool, Conv, Shape

MOST_VALUES = 1 << 24
"""Values that one node may hold or pass on; no chip here has as many neurons."""
LARGEST = 1 << 31
"""Of sizes, strides, paddings and the like."""
MOST_AXES = 8
ELEMENTWISE = (*NEURONS, "Scale", "Delay")
"""The kinds whose parameters are one per value."""


@dataclass(frozen=True, eq=False)
class Shaped:
    """A graph whose parameters fit: what every node reads and what it passes on.

    Args:
        graph: fields of neurons, Scale and Delay have the shape that they read; strides and the like are one per axis.
        given, made: name -> shape before and behind the node.
    """

    graph: Graph
    given: dict[str, Shape]
    made: dict[str, Shape]


class Misfit(Exception):
    """Why a node cannot be given what it reads: code, what, why, fix."""


def shaped(graph: Graph) -> Shaped:
    """Return `graph` with all shapes settled.

    Raises:
        LoadError: ND033 for shapes beyond any network, ND034 for fields of another form, ND035 for nodes that the Input
            does not reach, ND036 where shapes do not meet.
    """
    follower = _Follower(graph)
    follower.follow()
    raise_all(LoadError, follower.findings)
    nodes = {name: follower.nodes[name] for name in graph.nodes}
    return Shaped(replace(graph, nodes=nodes).repaired(*follower.repairs), follower.given, follower.made)


@dataclass
class _Follower:
    """The walk from the Input, breadth first, so that loops are entered from their beginning."""

    graph: Graph
    nodes: dict[str, Record] = field(default_factory=dict)
    given: dict[str, Shape] = field(default_factory=dict)
    made: dict[str, Shape] = field(default_factory=dict)
    repairs: list[Repair] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def follow(self) -> None:
        readers, sources = self.graph.readers(), self.graph.sources()
        (start,) = self.graph.of_kind("Input")
        self._visit(start, self._input_shape(start, readers.get(start, [])))
        ahead = deque([start])
        while ahead:
            name = ahead.popleft()
            if name not in self.made:
                continue
            for reader in readers.get(name, ()):
                if reader not in self.given:
                    self._visit(reader, self.made[name])
                    ahead.append(reader)
        if self.findings:
            return
        for name in self.graph.nodes:
            if name not in self.given:
                fix = "add the edges that lead to it"
                self._refuse("ND035", name, "the input does not reach it", "it would compute nothing", fix)
                continue
            for source in sources.get(name, ()):
                if source in self.made and prod(self.made[source]) != prod(self.given[name]):
                    what = f'it reads {self.given[name]}, and "{source}" has {self.made[source]}'
                    self._refuse("ND036", name, what, "several inputs of a node are added up", "make them alike")

    def _input_shape(self, name: str, readers: list[str]) -> Shape:
        """Return the shape the Input declares, or what its only possible reader says."""
        record = self.graph.nodes[name]
        if "shape" in record.fields:
            try:
                return self._sizes(record, "shape", least=1)
            except Misfit as misfit:
                self._refuse_for(name, misfit)
                return ()
        try:
            shapes = {self._wanted(self.graph.nodes[reader]) for reader in readers} - {None}
        except Misfit as misfit:
            self._refuse_for(name, misfit)
            return ()
        shape = shapes.pop() if len(shapes) == 1 else None
        if shape is None:
            self._refuse("ND036", name, "its shape is not known", "its readers do not say it", "give the Input a shape")
            return ()
        return shape

    def _wanted(self, record: Record) -> Shape | None:
        """Return what a node reads, as far as its own fields say it."""
        if record.kind in ("Affine", "Linear"):
            return self._numbers(record, "weight").shape[-1:]
        if record.kind in ELEMENTWISE:
            needed = set(record.fields) - set(OPTIONAL.get(record.kind, ()))
            return max((self._numbers(record, key).shape for key in sorted(needed)), key=prod)
        if record.kind in CONVOLUTIONS and "input_shape" in record.fields:
            weight, (groups,) = self._numbers(record, "weight"), self._integers(record, "groups", 1, least=1)
            channels = weight.shape[1] * groups if weight.ndim > 1 else 0
            return (channels, *self._integers(record, "input_shape", CONVOLUTIONS[record.kind], least=1))
        return None

    def _visit(self, name: str, given: Shape) -> None:
        """Settle one node that reads `given`."""
        self.given[name] = given
        try:
            record, given, made = self._settled(name, given)
            if max(prod(given), prod(made)) > MOST_VALUES or min((*given, *made), default=1) < 1:
                why = f"a node has at least one value and at most {MOST_VALUES:,}"
                raise Misfit("ND033", f"it reads {given} and makes {made}", why, "check the shapes in the file")
            self.nodes[name], self.given[name], self.made[name] = record, given, made
        except Misfit as misfit:
            self._refuse_for(name, misfit)

    def _settled(self, name: str, given: Shape) -> tuple[Record, Shape, Shape]:
        record = self.graph.nodes[name]
        if record.kind in ELEMENTWISE:
            return self._elementwise(name, record, given), given, given
        if record.kind in ("Affine", "Linear"):
            return self._matrix(name, record, given)
        if record.kind in CONVOLUTIONS:
            return self._convolution(name, record, given)
        if record.kind in POOLS:
            return self._pool(record, given)
        if record.kind == "Flatten":
            return record, given, self._flattened(name, record, given)
        if "shape" in record.fields:
            declared = self._sizes(record, "shape", least=1)
            if prod(declared) != prod(given):
                what, fix = f"it has shape {declared} and reads {given}", "give it the shape of what it reads"
                raise Misfit("ND036", what, "the sizes differ", fix)
            if declared != given:
                self._repair(name, f"it has shape {declared} and reads {given}", f"shape {given}")
        return record, given, given

    def _elementwise(self, name: str, record: Record, given: Shape) -> Record:
        """Return the record with each parameter in the shape that the node reads."""
        fields = {key: self._numbers(record, key) for key in record.fields}
        readings: dict[str, list[str]] = {}
        for key, values in fields.items():
            fields[key], reading = _fitted(key, values, given)
            if reading:
                readings.setdefault(reading, []).append(f"{key} {values.shape}")
        for reading, keys in readings.items():
            self._repair(name, f"it reads {given} and has {', '.join(keys)}", reading)
        return Record(record.kind, fields)

    def _matrix(self, name: str, record: Record, given: Shape) -> tuple[Record, Shape, Shape]:
        weight = self._numbers(record, "weight")
        if weight.ndim > 2 and prod(weight.shape[:-2]) == 1:
            self._repair(name, f"its weight has shape {weight.shape}", f"shape {weight.shape[-2:]}")
            weight = weight.reshape(weight.shape[-2:])
        if weight.ndim != 2:
            why = "a weight is (post, pre)"
            raise Misfit("ND036", f"its weight has shape {weight.shape}", why, "write such a matrix")
        post, pre = weight.shape
        if prod(given) != pre:
            turned = ", or its transpose if it was written (pre, post)" if prod(given) == post else ""
            what, fix = f"its weight reads {pre} values, and {given} arrive", f"give it the weight that fits{turned}"
            raise Misfit("ND036", what, "the sizes differ", fix)
        if given != (pre,):
            self._repair(name, f"it reads {pre} values, and {given} arrive", "flattened in C order")
        fields: dict[str, Field] = {"weight": weight}
        if "bias" in record.fields:
            fields["bias"] = self._bias(name, record, post)
        return Record(record.kind, fields), (pre,), (post,)

    def _bias(self, name: str, record: Record, post: int) -> np.ndarray:
        bias = self._numbers(record, "bias")
        if bias.size not in (1, post):
            raise Misfit("ND036", f"its bias has shape {bias.shape}", f"there are {post} outputs", "give one for each")
        if bias.shape != (post,):
            told = "the same for all" if bias.size == 1 else "the same values in C order"
            self._repair(name, f"its bias has shape {bias.shape}", told)
        return np.broadcast_to(bias.reshape(-1), (post,))

    def _convolution(self, name: str, record: Record, given: Shape) -> tuple[Record, Shape, Shape]:
        space = CONVOLUTIONS[record.kind]
        weight = self._numbers(record, "weight")
        if weight.ndim != space + 2 or min(weight.shape) < 1:
            why = "a weight is (out, in / groups, *kernel)"
            raise Misfit("ND036", f"its weight has shape {weight.shape}", why, "write such an array")
        stride, dilation = (self._integers(record, key, space, least=1) for key in ("stride", "dilation"))
        (groups,) = self._integers(record, "groups", 1, least=1)
        channels = weight.shape[1] * groups
        if "input_shape" in record.fields:
            declared = (channels, *self._integers(record, "input_shape", space, least=1))
            same = prod(declared) == prod(given) and len(given) != space + 1
            if declared != given:
                told = "the same values in C order" if same else f"what arrives, {given}"
                self._repair(name, f"it reads {declared}, and {given} arrive", told)
            given = declared if same else given
        if len(given) != space + 1 or given[0] != channels or weight.shape[0] % groups:
            what = f"its weight {weight.shape} in {groups} groups reads {channels} channels, and {given} arrive"
            raise Misfit("ND036", what, f"a {record.kind} reads (channel, *{space} axes)", "make both fit")
        padding = self._padding(record, space, weight.shape[2:], stride, dilation)
        fields: dict[str, Field] = {"weight": weight, "groups": np.array(groups)}
        fields |= {"stride": np.array(stride), "dilation": np.array(dilation), "padding": np.array(padding)}
        if "bias" in record.fields:
            fields["bias"] = self._bias(name, record, weight.shape[0])
        made = Conv(weight, given, stride, padding, dilation, groups).shape
        return Record(record.kind, fields), given, made

    def _padding(self, record: Record, space: int, kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
        word = record.fields["padding"]
        if not isinstance(word, str):
            return self._integers(record, "padding", space, least=0)
        if word == "valid":
            return (0,) * space
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if word == "same" and set(stride) == {1} and not any(t % 2 for t in total):
            return tuple(t // 2 for t in total)
        why = "targets pad both sides alike, and 'same' means that for a stride of 1 and an odd kernel"
        raise Misfit("ND042", f"padding {word[:20]!r} with kernel {kernel}", why, "write the padding as numbers")

    def _pool(self, record: Record, given: Shape) -> tuple[Record, Shape, Shape]:
        if len(given) != 3:
            raise Misfit("ND036", f"{given} arrives", "a pool reads (channel, row, column)", "give it such a shape")
        kernel, stride = (self._integers(record, key, 2, least=1) for key in ("kernel_size", "stride"))
        padding = self._integers(record, "padding", 2, least=0)
        sizes = {"kernel_size": kernel, "stride": stride, "padding": padding}
        made = AveragePool(given, kernel, stride, padding).shape
        return Record(record.kind, {key: np.array(size) for key, size in sizes.items()}), given, made

    def _flattened(self, name: str, record: Record, given: Shape) -> Shape:
        """Return what Flatten makes of a shape; where its axes count those of another shape, all of it is flattened."""
        (first,), (last,) = (self._integers(record, key, 1) for key in ("start_dim", "end_dim"))
        axes = len(given)
        begin, end = first if first >= 0 else axes + first, last if last >= 0 else axes + last
        declared = self._sizes(record, "input_type", least=0) if "input_type" in record.fields else given
        if declared == given and 0 <= begin <= end < axes:
            return (*given[:begin], prod(given[begin : end + 1]), *given[end + 1 :])
        self._repair(name, f"it flattens axes {first} to {last} of {declared} and reads {given}", "all axes flattened")
        return (prod(given),)

    def _sizes(self, record: Record, key: str, least: int) -> Shape:
        values = record.fields[key]
        axes = 1 if isinstance(values, str) else values.size
        if not 1 <= axes <= MOST_AXES:
            why = f"a shape has 1 to {MOST_AXES}"
            raise Misfit("ND034", f"its {key} has {axes:,} axes", why, "write the file again")
        return self._integers(record, key, axes, least)

    def _integers(self, record: Record, key: str, count: int, least: int = -LARGEST) -> Shape:
        """Return a field as `count` integers; a lone one stands for all."""
        values = record.fields[key]
        if isinstance(values, str) or values.size not in (1, count) or not np.all(np.isfinite(values)):
            what = f"its {key} is no list of {count} numbers"
            raise Misfit("ND034", what, f"a {record.kind} needs it", "write the file again")
        found = tuple(float(value) for value in np.broadcast_to(values.reshape(-1), (count,)))
        if any(value != int(value) or not least <= value < LARGEST for value in found):
            why = f"these are whole numbers from {least} to {LARGEST - 1}"
            raise Misfit("ND034", f"its {key} is {found}", why, "write the file again")
        return tuple(int(value) for value in found)

    def _numbers(self, record: Record, key: str) -> np.ndarray:
        values = record.fields[key]
        if isinstance(values, str):
            raise Misfit("ND034", f"its {key} is a text", "numbers are needed", "write the file again")
        with np.errstate(invalid="ignore"):  # of NaN, which is refused in the network
            return np.asarray(values, np.float64)

    def _repair(self, name: str, what: str, read_as: str) -> None:
        self.repairs.append(Repair(self.graph.place(name), what, read_as))

    def _refuse(self, code: str, name: str, what: str, why: str, fix: str) -> None:
        self.findings.append(Finding(code, self.graph.place(name), what, why, fix))

    def _refuse_for(self, name: str, misfit: Misfit) -> None:
        code, what, why, fix = misfit.args
        self._refuse(code, name, what, why, fix)


def _fitted(key: str, values: np.ndarray, given: Shape) -> tuple[np.ndarray, str]:
    """Return a parameter in the shape `given`, and how it had to be read, if it did not fit.

    Raises:
        Misfit: ND036 when there is no reading, or more than one.
    """
    if values.shape == given:
        return values, ""
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), given), "the same for all"
    if values.size == prod(given):
        plain, other = (tuple(n for n in shape if n != 1) for shape in (values.shape, given))
        if plain == other or 1 in (len(plain), len(other)):
            return values.reshape(given), "the same values in C order"
    elif values.ndim == len(given) and all(n in (1, m) for n, m in zip(values.shape, given, strict=True)):
        return np.broadcast_to(values, given), "the same along axes of length 1"
    fix = f"give one number, or one for each of {given}"
    what = f"its {key} has shape {values.shape}, and {given} arrives"
    raise Misfit("ND036", what, "there is no one way to fit them", fix)
