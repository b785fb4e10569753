"""Which package a module is of. A package is imported when a module of it is met, so none but snnTorch is needed."""

from __future__ import annotations

from importlib.util import find_spec

from torch import nn

from neurodeploy.frontends.neuron_calls import Framework

PACKAGES = ("snntorch", "spikingjelly", "norse", "sinabs")
"""The packages whose neurons are read."""
LIBRARIES = tuple(
    location
    for package in ("torch", *PACKAGES)
    if (spec := find_spec(package)) is not None
    for location in spec.submodule_search_locations or ()
)
"""Where code is not the user's own."""


def package_of(module: nn.Module) -> str | None:
    """Return the package of PACKAGES that `module`, or what it inherits from, is of."""
    origins = (kind.__module__.partition(".")[0] for kind in type(module).__mro__)
    return next((origin for origin in origins if origin in PACKAGES), None)


def framework_of(module: nn.Module) -> Framework | None:
    """Return the framework whose neuron `module` is, or None when it is no neuron that is read exactly."""
    framework = of_package(package_of(module))
    return framework if framework is not None and type(module) in framework.neurons else None


def of_package(package: str | None) -> Framework | None:
    """Return how the neurons of `package` are read."""
    match package:
        case "snntorch":
            from neurodeploy.frontends.recorded_snntorch import SnnTorch

            return SnnTorch()
        case "spikingjelly":
            from neurodeploy.frontends.recorded_spikingjelly import SpikingJelly

            return SpikingJelly()
        case "norse":
            from neurodeploy.frontends.recorded_norse import Norse

            return Norse()
        case "sinabs":
            from neurodeploy.frontends.recorded_sinabs import Sinabs

            return Sinabs()
    return None


def describe(module: nn.Module) -> str:
    """Name a module's class as its user writes it."""
    kind, package = type(module), type(module).__module__.partition(".")[0]
    if kind.__module__.startswith("torch.nn"):
        return f"torch.nn.{kind.__name__}"
    return f"{package}.{kind.__name__}" if package in PACKAGES else kind.__name__
