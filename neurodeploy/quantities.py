"""How quantities read to people, in tables and in reports: three digits and the unit that suits them."""

from __future__ import annotations

from collections.abc import Mapping

PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def joule(value: float) -> str:
    """Return an energy in joule with its unit."""
    return _scaled(value, "J")


def second(value: float) -> str:
    """Return a time in seconds with its unit."""
    return _scaled(value, "s")


def between(time: Mapping[str, float], per: float = 1) -> str:
    """Return a time in seconds, divided by `per`, and its ends where they differ."""
    value, low, high = (time[end] / per for end in ("value", "low", "high"))
    return second(value) if low == high else f"{second(value)} ({second(low)} to {second(high)})"


def count(number: int, thing: str) -> str:
    """Return so many things."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def span(ends: list[int]) -> str:
    """Return the least and the most of something, or both as one."""
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _scaled(value: float, unit: str) -> str:
    size, prefix = next((each for each in PREFIXES if abs(value) >= each[0]), PREFIXES[-1 if value else 0])
    return f"{value / size:.3g} {prefix}{unit}"
