"""Translate trained spiking networks to neuromorphic targets exactly, or record what changed, or refuse."""

from importlib import import_module
from typing import Any

__all__ = ["load", "save"]

_HOMES = {
    "load": "neurodeploy.frontends",
    "save": "neurodeploy.frontends.checkpoint",
}
"""Public name -> the module that defines it, imported at first use: importing neurodeploy imports nothing heavy."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neurodeploy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
