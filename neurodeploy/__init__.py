"""Translate trained spiking networks to neuromorphic targets exactly, or record what changed, or refuse."""

from importlib import import_module
from typing import Any

_HOMES = {
    "load": "neurodeploy.frontends",
    "save": "neurodeploy.frontends.checkpoint",
    "train": "neurodeploy.learning.training",
    "compile": "neurodeploy.pipeline",
    "read_data": "neurodeploy.pipeline",
    "export": "neurodeploy.pipeline",
    "run": "neurodeploy.pipeline",
    "learn": "neurodeploy.onchip",
    "verify": "neurodeploy.pipeline",
    "evaluate": "neurodeploy.pipeline",
    "as_neurobench_model": "neurodeploy.neurobench_model",
    "load_artifact": "neurodeploy.artifact",
    "save_artifact": "neurodeploy.artifact",
    "NeurodeployError": "neurodeploy.errors",
    "UsageError": "neurodeploy.errors",
    "LoadError": "neurodeploy.errors",
    "NetworkError": "neurodeploy.errors",
    "ProfileError": "neurodeploy.errors",
    "UnsupportedError": "neurodeploy.errors",
    "CapacityError": "neurodeploy.errors",
    "VerificationError": "neurodeploy.errors",
    "BackendUnavailableError": "neurodeploy.errors",
    "BackendFailedError": "neurodeploy.errors",
}
"""Public name -> the module that defines it, imported at first use: importing neurodeploy imports nothing heavy."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neurodeploy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
