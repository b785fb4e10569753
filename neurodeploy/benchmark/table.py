"""One tidy table: a row says one number, of what, under which conditions, from how many samples."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One measured number.

    Args:
        experiment: accuracy, fgsm, nes, backdoor, cka, cka_attacked, fisher, deployment or cost.
        dataset: by name; title: what the data really were, their number included.
        rule: one rule, or two joined by "|" where they are compared.
        condition: epsilon=0.01, poison=0.3, layer=lif1, steps=100 and so on, joined by ";", or "".
        where: what was asked: float (PyTorch), deployed (the integer program on the engine), or host.
        metric: what the value is, with its unit in the name where it has one.
        value: the number; None where there is none.
        samples: test samples behind it.
        train_samples: what the network learned from; 0 where nothing was trained.
    """

    experiment: str
    dataset: str
    title: str
    rule: str
    arch: str
    seed: int
    condition: str
    where: str
    metric: str
    value: float | None
    samples: int
    train_samples: int = 0

    @property
    def conditions(self) -> dict[str, str]:
        return dict(part.split("=", 1) for part in self.condition.split(";") if part)


class Table:
    """Rows, with the few questions a report asks of them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, **equal: Any) -> Table:
        """Return the rows whose fields, or conditions, have these values."""
        return Table(row for row in self.rows if all(self._get(row, key) == value for key, value in equal.items()))

    def values(self) -> np.ndarray:
        return np.array([row.value for row in self.rows if row.value is not None], np.float64)

    def mean(self) -> float | None:
        """Return the mean over rows, seeds usually, or None when there are none."""
        values = self.values()
        return float(values.mean()) if len(values) else None

    def distinct(self, key: str) -> list[Any]:
        """Return the values of a field or condition, each once, in order of appearance."""
        return list(dict.fromkeys(value for row in self.rows if (value := self._get(row, key)) is not None))

    def groups(self, *keys: str) -> list[Table]:
        """Return the rows apart by the values of these fields or conditions, in order of appearance."""
        parts: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.rows:
            parts.setdefault(tuple(self._get(row, key) for key in keys), []).append(row)
        return [Table(rows) for rows in parts.values()]

    @staticmethod
    def _get(row: Row, key: str) -> Any:
        return (row.conditions | vars(row)).get(key)

    def write(self, path: Path) -> Path:
        """Write the table as CSV, whole or not at all."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [each.name for each in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        unfinished = path.with_name(f".{path.name}-{os.getpid()}")
        unfinished.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(unfinished, path)
        return path

    @staticmethod
    def read(path: Path) -> Table:
        """Return the table that `write` wrote."""
        with path.open(encoding="utf-8", newline="") as file:
            return Table(_row(plain) for plain in csv.DictReader(file))


def _row(plain: dict[str, str]) -> Row:
    whole = {key: int(plain[key]) for key in ("seed", "samples", "train_samples")}
    value = float(plain["value"]) if plain["value"] else None
    return Row(**{**plain, **whole, "value": value})  # type: ignore[arg-type]
