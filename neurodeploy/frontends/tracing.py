"""Watch a PyTorch module run: every element of every tensor keeps the number of the value it was moved from.

A `Trace` gives the elements of each produced value (a layer's output, a spike, a membrane) numbers of their own.
Beside each tensor it keeps a *shadow*: an int64 tensor of the same shape that holds those numbers. Whatever only moves
elements (view, stack, index, permute, ...) is applied to the shadow too, so that a shadow always says where each
element came from; 0 means a constant zero. Layers and sums make new values; everything else makes an OPAQUE value with
its place in the user's file. What reads a number back into Python makes a finding: the run would depend on the data.
"""

from __future__ import annotations

import hashlib
import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from inspect import Signature, signature
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neurodeploy.errors import Finding
from neurodeploy.frontends import constants
from neurodeploy.frontends.frameworks import LIBRARIES, describe, framework_of
from neurodeploy.frontends.neuron_calls import Framework, NeuronCall

FRONTENDS = str(Path(__file__).parent)
"""Where the run is started from."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUERIES = _names(
    """shape size dim ndim ndimension numel nelement device dtype layout is_cuda is_sparse is_quantized is_mps is_meta
    is_floating_point is_complex is_contiguous is_leaf is_tensor is_same_size requires_grad requires_grad_ retain_grad
    grad_fn grad stride storage_offset element_size itemsize nbytes data_ptr get_device names result_type _version
    __len__ __hash__ __repr__ __str__ __format__ __sizeof__"""
)
"""Functions whose result does not depend on the values; printing is allowed."""
FACTORIES = _names(
    "zeros_like ones_like full_like empty_like rand_like randn_like new_zeros new_ones new_full new_empty"
)
"""Functions that take only shape and type of a tensor."""
MOVES = _names(
    """view reshape flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_ permute transpose swapaxes swapdims movedim
    moveaxis t T mT __getitem__ select narrow unbind split split_with_sizes chunk tensor_split stack cat concat
    concatenate hstack vstack dstack repeat expand expand_as tile view_as reshape_as index_select flip roll atleast_1d
    atleast_2d broadcast_to"""
)
"""Functions that move elements of their first argument (a tensor or a sequence of tensors) and change none."""
COPIES = _names(
    """detach detach_ clone to float double type type_as cpu data contiguous alias positive __pos__ __deepcopy__
    lift_fresh"""
)
"""Functions that return the same elements in the same shape, perhaps in a wider type."""
DROPOUTS = _names("dropout dropout1d dropout2d dropout3d")
ADDITIONS = _names("add add_ __add__ __radd__ __iadd__")
REDUCTIONS = _names("sum mean")
SCALINGS = _names("mul multiply __mul__ __rmul__ div divide true_divide __truediv__ __div__")
DATA_SHAPED = _names("nonzero argwhere unique unique_consecutive masked_select bincount")
"""Functions whose result has a shape that depends on the values."""

_CONV = signature(lambda input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1: 0)
_AVERAGE = signature(
    lambda input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None: 0
)
_MAXIMUM = signature(
    lambda input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False: 0
)
SIGNATURES: dict[str, Signature] = {
    "linear": signature(lambda input, weight, bias=None: 0),
    "conv1d": _CONV,
    "conv2d": _CONV,
    "avg_pool1d": _AVERAGE,
    "avg_pool2d": _AVERAGE,
    "max_pool1d": _MAXIMUM,
    "max_pool2d": _MAXIMUM,
    "lp_pool2d": signature(lambda input, norm_type, kernel_size, stride=None, ceil_mode=False: 0),
    "batch_norm": signature(
        lambda input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5: 0
    ),
}
"""The stateless layers with their arguments, as torch.nn.functional takes them; torch.nn's layers call these."""
_DROPOUT = signature(lambda input, p=0.5, training=True, inplace=False: 0)
_REDUCTION = signature(lambda input, dim=None, keepdim=False, dtype=None, out=None: 0)


class Kind(StrEnum):
    """What produced a value."""

    INPUT = "input"
    LAYER = "layer"
    SPIKES = "spikes"
    STATE = "state"
    SUM = "sum"
    REDUCTION = "reduction"
    SCALED = "scaled"
    CONSTANT = "constant"
    OPAQUE = "opaque"


@dataclass(frozen=True, eq=False)
class Value:
    """One produced tensor; its elements carry the numbers first .. first + size - 1 in C order.

    Args:
        kind, place: what made it, and where in the user's words.
        name: layer, neuron or operation.
        step: of a neuron's spikes and states, the index of the call; of an INPUT, the index of the run.
        inputs: shadows of what it was computed from.
        settings: of a LAYER, its arguments by name, tensors included; of a STATE {"state": name}; of a REDUCTION
            {"dims": ...}; of a SCALED value {"factor": a positive Fraction}.
        layer: of an OPAQUE or SCALED value, the library layer whose code made it, or "".
    """

    kind: Kind
    shape: tuple[int, ...]
    first: int
    place: str
    name: str = ""
    step: int = 0
    inputs: tuple[Tensor, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    layer: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def numbers(self) -> Tensor:
        """The shadow of the value itself."""
        return torch.arange(self.first, self.first + self.size).reshape(self.shape)


class Trace:
    """The record of one or several runs of `net`; use `watch()` around the runs."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.names = {module: name for name, module in net.named_modules()}
        self.owners = {id(tensor): name for name, tensor in [*net.named_parameters(), *net.named_buffers()]}
        self.values: list[Value] = []
        self.calls: dict[str, list[NeuronCall]] = {}
        self.findings: list[Finding] = []
        self.rewritten: set[constants.Key] = set()
        self._constants: dict[str, dict[str, Any]] = {}
        self._received: dict[int, tuple[nn.Module, str]] = {}
        self._firsts: list[int] = []
        self._next = 1
        self._shadows: dict[int, tuple[Tensor, Tensor]] = {}
        self._silent = False
        self._digests: dict[int, tuple[Tensor, str]] = {}

    # Following tensors

    def shadow(self, tensor: Tensor) -> Tensor | None:
        """Return the shadow of `tensor`, or None when it is not followed."""
        entry = self._shadows.get(id(tensor))
        return entry[1] if entry else None

    def follow(self, tensor: Tensor, shadow: Tensor) -> None:
        assert tensor.shape == shadow.shape, (tensor.shape, shadow.shape)
        self._shadows[id(tensor)] = (tensor, shadow)

    def produce(self, kind: Kind, tensor: Tensor, name: str = "", **facts: Any) -> Value:
        """Number the elements of `tensor` as a new value and follow it."""
        value = self._number(kind, tuple(tensor.shape), name, **facts)
        self.follow(tensor, value.numbers)
        return value

    def _number(self, kind: Kind, shape: tuple[int, ...], name: str, **facts: Any) -> Value:
        value = Value(kind, shape, self._next, facts.pop("place", None) or self.place(), name, **facts)
        self.values.append(value)
        self._firsts.append(value.first)
        self._next += max(value.size, 1)
        return value

    def value_at(self, number: int) -> Value:
        """Return the value that the element `number` (positive) belongs to."""
        return self.values[bisect_right(self._firsts, number) - 1]

    def digest(self, tensor: Tensor) -> str:
        """Return a fingerprint of a constant's content."""
        known = self._digests.get(id(tensor))
        if known is None:
            content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            text = f"{tensor.dtype}{tuple(tensor.shape)}{hashlib.sha256(content).hexdigest()}"
            known = self._digests[id(tensor)] = (tensor, text)
        return known[1]

    # Where things happen

    def place(self) -> str:
        """Say which library layer is running and which line of the user's called it."""
        frame: FrameType | None = sys._getframe(1)
        while frame and (frame.f_code.co_filename.startswith(LIBRARIES) or frame.f_code.co_filename == __file__):
            frame = frame.f_back
        line = ""
        if frame is not None and not frame.f_code.co_filename.startswith(FRONTENDS):
            line = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return ", ".join(part for part in (self.running_layer(), line) if part) or "net"

    def running_layer(self) -> str:
        module = self.running_module()
        return f'{describe(module)} "{self.path(module)}"' if module is not None else ""

    def path(self, module: nn.Module) -> str:
        return ".".join(part for part in ("net", self.names.get(module, "")) if part)

    def running_module(self) -> nn.Module | None:
        """Return the innermost library layer (of torch.nn or a framework) of the net whose code is running."""
        frame: FrameType | None = sys._getframe(1)
        while frame:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and owner in self.names and owner is not self.net:
                inside = frame.f_code.co_filename.startswith(LIBRARIES)
                container = isinstance(owner, nn.Sequential | nn.ModuleList | nn.ModuleDict)
                return owner if inside and not container else None
            frame = frame.f_back
        return None

    # Watching

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Follow every torch function and every call of a supported neuron, in this thread, until the end."""
        frameworks = {type(module): found for module in self.names if (found := framework_of(module)) is not None}
        originals = {kind: kind.forward for kind in frameworks}
        own = {kind for kind in frameworks if "forward" in vars(kind)}
        for kind, framework in frameworks.items():
            kind.forward = _watched(self, framework, kind, originals[kind])
        try:
            with _Mode(self):
                yield
        finally:
            for kind, forward in originals.items():
                if kind in own:
                    kind.forward = forward
                else:
                    del kind.forward

    def observe(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a torch function and follow what it does to followed tensors."""
        if self._silent:
            return func(*args, **kwargs)
        followed = [t for t in tensors_in((args, kwargs)) if id(t) in self._shadows]
        name = _name(func)
        if not followed and name in SIGNATURES and self._is_zero(_first(args, kwargs)):
            return self._layer(name, func, args, kwargs)
        if not followed or name in QUERIES or name in FACTORIES or (name in ("__eq__", "__ne__") and None in args[1:2]):
            return func(*args, **kwargs)
        if name.endswith("__set__") or name == "backward":
            result = func(*args, **kwargs)
            self._spoil(args[0], name)
            return result
        handled = self._handle(name, func, args, kwargs)
        return self._unknown(name, func, args, kwargs) if handled is NotImplemented else handled

    def _handle(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        if name in MOVES and not isinstance(_first(args, kwargs), Tensor | list | tuple):
            return NotImplemented
        if name in DROPOUTS and not _bound(_DROPOUT, args, kwargs)["training"]:
            return self._copy(func, args, kwargs)
        if name in SIGNATURES:
            return self._layer(name, func, args, kwargs)
        if name in ADDITIONS:
            return self._add(name, func, args, kwargs)
        if name in COPIES:
            return self._copy(func, args, kwargs)
        if name in MOVES:
            return self._move(func, args, kwargs)
        if name == "__setitem__":
            return self._set_item(func, args)
        if name in ("copy_", "zero_"):
            return self._overwrite(name, func, args, kwargs)
        if name in REDUCTIONS:
            return self._reduce(name, func, args, kwargs)
        if name in SCALINGS:
            return self._scale(name, func, args, kwargs)
        return NotImplemented

    # One method per family of functions

    def _layer(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        settings = _bound(SIGNATURES[name], args, kwargs)
        source = settings.pop("input")
        if any(id(t) in self._shadows for t in tensors_in(settings)):
            return NotImplemented
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or result.dtype not in (torch.float32, torch.float64):
            return self._opaque(name, result, source)
        module = self.running_module()
        owner = self.names[module] if module is not None else self._owner(settings.get("weight"))
        frozen = self._shadow_or_constant(source).clone()
        self.produce(Kind.LAYER, result, owner or name, inputs=(frozen,), settings={"function": name, **settings})
        return result

    def _owner(self, weight: Tensor | None) -> str:
        return self.owners.get(id(weight), "").rpartition(".")[0]

    def _add(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        if kwargs.get("alpha", 1) != 1 or "out" in kwargs or len(args) < 2:
            return NotImplemented
        left, right = args[0], args[1]
        in_place = name in ("__iadd__", "add_")
        if not isinstance(right, Tensor) or not isinstance(left, Tensor):
            zero = (left if isinstance(right, Tensor) else right) == 0
            return self._copy(func, args, kwargs) if zero and not in_place else NotImplemented
        result = func(*args, **kwargs)
        if left.shape != right.shape:
            return self._opaque(f"{name} with broadcasting", result, left, right)
        inputs = tuple(self._shadow_or_constant(t).clone() for t in (left, right))
        if in_place:
            self._spoil(left, "changed in place")
        self.produce(Kind.SUM, result, name, inputs=inputs)
        return result

    def _copy(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        followed = [t for t in tensors_in((args, kwargs)) if id(t) in self._shadows]
        result = func(*args, **kwargs)
        source = followed[0]
        if not isinstance(result, Tensor) or result.shape != source.shape or result.dtype.is_complex:
            return self._opaque(_name(func), result, source)
        if not self._keeps_values(source, result):
            return self._opaque(f"{_name(func)} that rounds", result, source)
        self.follow(result, self._shadows[id(source)][1])
        return result

    def _keeps_values(self, source: Tensor, result: Tensor) -> bool:
        """Whether a change of type loses nothing: for every value, or for input and spikes the values seen."""
        if source.is_floating_point() and torch.promote_types(source.dtype, result.dtype) != result.dtype:
            numbers = self.shadow(source)
            kinds = (Kind.INPUT, Kind.SPIKES)
            given = numbers is not None and numbers.numel() and self.value_at(int(numbers.max())).kind in kinds
            return bool(given) and torch.equal(result.double(), source.double())
        return torch.equal(result.double(), source.double())

    def _move(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        named = dict(kwargs)
        if not args:
            args = (named.pop(next(key for key in ("tensors", "input") if key in named)),)
        data, rest, name = args[0], args[1:], _name(func)
        if not name.endswith("_as") and any(id(t) in self._shadows for t in tensors_in(rest)):
            return self._unknown(name, func, args, named)
        result = func(*args, **named)
        if isinstance(data, Tensor):
            shadow = self._shadow_or_constant(data)
            moved = func(shadow.clone() if name.endswith("_") else shadow, *rest, **named)
        else:
            moved = func([self._shadow_or_constant(t) for t in data], *rest, **named)
        for part, shadow in zip(tensors_in(result), tensors_in(moved), strict=True):
            if part.shape != shadow.shape or shadow.dtype != torch.int64:
                return self._opaque(name, result, data)
            self.follow(part, shadow)
        return result

    def _set_item(self, func: Callable, args: tuple) -> Any:
        target, index, source = args
        indices = index if isinstance(index, tuple) else (index,)
        plain = all(isinstance(part, int | slice) or part is Ellipsis or part is None for part in indices)
        if not plain or not (isinstance(source, Tensor) or source == 0):
            return NotImplemented
        shadow = self._shadow_or_constant(target).clone()
        shadow[index] = self._shadow_or_constant(source) if isinstance(source, Tensor) else 0
        func(*args)
        self._spoil(target, "changed in place")
        self.follow(target, shadow)
        return None

    def _overwrite(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        target = args[0]
        if name == "copy_" and (not isinstance(args[1], Tensor) or args[1].shape != target.shape):
            return NotImplemented
        source = self._shadow_or_constant(args[1]) if name == "copy_" else torch.zeros(target.shape, dtype=torch.int64)
        result = func(*args, **kwargs)
        if name == "copy_" and not torch.equal(target.double(), args[1].double()):
            return self._opaque("copy_ that rounds", result)
        self._spoil(target, "changed in place")
        self.follow(target, source.clone())
        return result

    def _reduce(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        named = _bound(_REDUCTION, args, kwargs)
        source, dims = named["input"], named["dim"]
        if not isinstance(source, Tensor) or named["out"] is not None:
            return NotImplemented
        dims = tuple(range(source.dim())) if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
        result = func(*args, **kwargs)
        shadow = self._shadow_or_constant(source)
        self.produce(Kind.REDUCTION, result, name, inputs=(shadow,), settings={"dims": dims})
        return result

    def _scale(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Follow a tensor times or divided by a positive number; no layer may read it, but a decision may."""
        if kwargs or len(args) != 2 or not isinstance(args[0], Tensor) or not _is_positive(args[1]):
            return NotImplemented
        factor = 1 / Fraction(args[1]) if "div" in name else Fraction(args[1])
        result = func(*args)
        inputs = (self._shadow_or_constant(args[0]).clone(),)
        self.produce(Kind.SCALED, result, name, layer=self.running_layer(), inputs=inputs, settings={"factor": factor})
        return result

    def _unknown(self, name: str, func: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        sources = [tensor for tensor in tensors_in((args, kwargs)) if id(tensor) in self._shadows]
        result = func(*args, **kwargs)
        results = list(tensors_in(result))
        by_values = name in DATA_SHAPED or name == "__getitem__" or (name == "where" and len(args) == 1)
        if by_values or not results:
            self._data_dependence(name)
        written = args[0] if args and isinstance(args[0], Tensor) else None
        if written is not None and (any(r is written for r in results) or (name.endswith("_") and name[:2] != "__")):
            self._spoil(written, name)
        return self._opaque(name, result, sources)

    def _data_dependence(self, name: str) -> None:
        finding = Finding(
            "ND015",
            self.place(),
            f"the forward pass reads values back into Python ({name})",
            "what the net computes then depends on the data, and one run shows only one of its ways",
            "decide with layers only; keep prints, checks and early exits outside forward",
        )
        if finding not in self.findings:
            self.findings.append(finding)

    def _opaque(self, name: str, result: Any, *sources: Any) -> Any:
        known = [shadow for tensor in tensors_in(sources) if (shadow := self.shadow(tensor)) is not None]
        inputs = tuple(shadow.clone() for shadow in known)
        for tensor in tensors_in(result):
            self.produce(Kind.OPAQUE, tensor, name, layer=self.running_layer(), inputs=inputs)
        return result

    def _spoil(self, tensor: Any, name: str) -> None:
        """Mark `tensor` and every followed tensor that shares its memory as unknown."""
        if not isinstance(tensor, Tensor):
            return
        memory = tensor.untyped_storage().data_ptr()
        for other, _ in list(self._shadows.values()):
            if other is tensor or (memory and other.untyped_storage().data_ptr() == memory):
                self.produce(Kind.OPAQUE, other, name, layer=self.running_layer())

    def _is_zero(self, tensor: Any) -> bool:
        """Whether `tensor` is a state at rest that nothing has touched."""
        return isinstance(tensor, Tensor) and self.shadow(tensor) is None and not tensor.count_nonzero()

    def _shadow_or_constant(self, tensor: Tensor) -> Tensor:
        shadow = self.shadow(tensor)
        if shadow is not None:
            return shadow
        if not tensor.count_nonzero():
            return torch.zeros(tensor.shape, dtype=torch.int64)
        return self._number(Kind.CONSTANT, tuple(tensor.shape), "a constant").numbers

    # Neurons

    def neuron(
        self, framework: Framework, module: nn.Module, forward: Callable, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Run one call of a supported neuron as a whole and number its spikes and states, step by step."""
        name, place, names = self.names[module], self.place(), framework.states(module)
        history = self.calls.setdefault(name, [])
        current, given = framework.received(module, args, kwargs)
        with self.silence():
            states, nonzero = self._states(framework, module, current, given)
            currents = framework.steps(module, self._shadow_or_constant(current).clone())
            present = constants.of_neuron(module, names)
            first = self._constants.setdefault(name, present)
            self.rewritten |= {(name, key) for key in first if present.get(key) != first[key]}
            result = forward(module, *args, **kwargs)
            spikes, left = framework.returned(module, result)
            shapes = [tuple(part.shape) for part in framework.steps(module, torch.zeros(spikes.shape))]
            dtype, shown = [*left.values()][-1].dtype, []
            for read, shape in zip(currents, shapes, strict=True):
                step = len(history)
                history.append(NeuronCall(name, step, read, states, nonzero, dtype, shape, place))
                fired = self._number(Kind.SPIKES, shape, name, step=step, place=place)
                facts = [(state, {"step": step, "place": place, "settings": {"state": state}}) for state in names]
                values = {s: fired if s == "spk" else self._number(Kind.STATE, shape, name, **f) for s, f in facts}
                states, nonzero = {state: value.numbers for state, value in values.items()}, ()
                shown.append(fired.numbers)
            self.follow(spikes, framework.joined(module, shown))
            for state, tensor in left.items():
                if tensor.shape == shapes[-1]:
                    self.follow(tensor, values[state].numbers)
        return result

    def _states(
        self, framework: Framework, module: nn.Module, current: Tensor, given: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor | None], tuple[str, ...]]:
        """Return the shadows of the states that a call starts from, and which of them are not at rest."""
        states: dict[str, Tensor | None] = dict.fromkeys(framework.states(module))
        nonzero = []
        for state, tensor in given.items():
            self._received.setdefault(id(tensor), (module, state))
            followed = self.shadow(tensor)
            states[state] = None if followed is None else followed.clone()
            moved = followed is None and tensor.shape == current.shape
            if moved and bool((tensor != framework.rest(module, state)).any()):
                nonzero.append(state)
        return states, tuple(nonzero)

    def state_after(self, tensor: Tensor) -> Tensor:
        """Return the present state of the neuron that took `tensor` as its first state, else `tensor`."""
        if id(tensor) not in self._received:
            return tensor
        module, state = self._received[id(tensor)]
        return getattr(module, state)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Let torch functions pass unfollowed."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before


class _Mode(TorchFunctionMode):
    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.trace.observe(func, args, kwargs or {})


def _watched(trace: Trace, framework: Framework, kind: type[nn.Module], forward: Callable) -> Callable:
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if type(self) is not kind or self not in trace.names:
            return forward(self, *args, **kwargs)
        return trace.neuron(framework, self, forward, args, kwargs)

    return call


def _bound(claim: Signature, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    bound = claim.bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _name(func: Callable) -> str:
    name = getattr(func, "__name__", repr(func))
    if name not in ("__get__", "__set__"):
        return name
    attribute = getattr(func, "__self__", func).__name__
    return attribute if name == "__get__" else f"{attribute}.__set__"


def _is_positive(number: Any) -> bool:
    return isinstance(number, int | float) and 0 < number < math.inf


def _first(args: tuple, kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs.get("tensors", kwargs.get("input"))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield every tensor of a call's arguments or result, however deep in sequences and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
