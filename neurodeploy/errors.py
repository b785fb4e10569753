"""Refusals and records: everything neurodeploy says when it cannot, or can only nearly, do what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one place, with the way out.

    `code` is explained by `neurodeploy explain CODE`; `place` names the layer, file or line; `what` states the fact,
    `why` the limit or the reason behind it, and `fix` what the reader can do now.
    """

    code: str
    place: str
    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"error[{self.code}]: {self.what}\n  at    {self.place}\n  why   {self.why}\n  fix   {self.fix}"


class Change(StrEnum):
    """How a translated network may differ from its source, what was decided to read a source that leaves it open, or
    what a file has no words for and states beside what it says."""

    ROUNDING = "rounding"
    SUBSTITUTION = "substitution"
    READING = "reading"
    ANNOTATION = "annotation"


@dataclass(frozen=True)
class Deviation:
    """One recorded difference between the source and its translation.

    `bound` is the largest measured difference in `unit`; a substitution has no bound because it changes what is
    computed, and exists only because the user allowed its code by name. A reading has none either: the source says
    nothing, or contradicts itself, and this is how it was taken. An annotation is what the format of an exported file
    cannot say, or says in another form; the file's metadata says it.
    """

    code: str
    place: str
    what: str
    change: Change
    bound: float | None = None
    unit: str = ""


class NeurodeployError(Exception):
    """The base of every refusal: one or more findings, never without a remedy."""

    exit_code: ClassVar[int] = 3

    def __init__(self, *findings: Finding, **details: Any) -> None:
        if not findings:
            raise ValueError("a refusal needs at least one finding")
        super().__init__(*findings)
        self.findings: tuple[Finding, ...] = findings
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        return "\n\n".join(str(finding) for finding in self.findings)


class UsageError(NeurodeployError):
    """The call itself makes no sense: an unknown name, an option that does not go with another."""

    exit_code = 2


class LoadError(NeurodeployError):
    """A file is absent, damaged, of another kind, or says something that cannot be read exactly."""


class NetworkError(NeurodeployError):
    """The network contradicts itself: shapes, cycles, values that are not finite."""


class ProfileError(NeurodeployError):
    """A hardware profile is absent or breaks its schema."""


class UnsupportedError(NeurodeployError):
    """The target cannot express this exactly, or the user has not allowed the substitution by name."""


class CapacityError(NeurodeployError):
    """The network does not fit the target; `details["utilization"]` is the table of used and available."""

    exit_code = 4


class VerificationError(NeurodeployError):
    """Two executors disagree; `details` holds step, population, neuron, expected, actual and likely cause."""

    exit_code = 5


class BackendUnavailableError(NeurodeployError):
    """A backend cannot run here; the remedy is the exact command that installs it."""

    exit_code = 6


class BackendFailedError(NeurodeployError):
    """A backend started and failed; the finding carries the last lines it printed."""

    exit_code = 1


def raise_all(error: type[NeurodeployError], findings: Sequence[Finding]) -> None:
    """Raise `error` once with every finding, or return when there is none."""
    if findings:
        raise error(*findings)
