"""Where a NIR graph turns back on itself, and which of its edges therefore read the step before.

In continuous time a loop is a loop; in steps, one of its edges has to wait. Populations are ranked by how many of them
lie between the input and each. Inside a loop, an edge that leads to a population of the same rank or a lower one waits
a step: recurrence within a layer, and feedback from a later layer to an earlier one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurodeploy.errors import Finding
from neurodeploy.frontends.nir_graph import Graph

POPULATIONS = ("LIF", "CubaLIF", "IF", "Threshold", "LI", "CubaLI", "I")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Loops:
    """The edges that wait a step, what was chosen where more than one edge could, and what cannot be told."""

    back: frozenset[Pair]
    choices: tuple[str, ...]
    findings: tuple[Finding, ...]


def returning(graph: Graph, delays: Mapping[str, int]) -> Loops:
    """Return which edges out of populations read the step before.

    Args:
        delays: nodes of type Delay -> their steps; a loop with such a step needs no other.
    """
    readers = graph.readers()
    heads = [name for name, record in graph.nodes.items() if record.kind in (*POPULATIONS, "Input")]
    findings = tuple(_without_neuron(graph, name) for name in _endless(graph, readers, heads))
    if findings:
        return Loops(frozenset(), (), findings)
    waiting = {name for name, steps in delays.items() if steps}
    reached = {(head, x): _reached(x, readers, set(heads), waiting) for head in heads for x in readers.get(head, ())}
    everywhere = {(head, x): _reached(x, readers, set(heads), set()) for head in heads for x in readers.get(head, ())}
    (start,) = graph.of_kind("Input")
    rank, member = _ranks(start, everywhere), _components(heads, reached)
    back, mixed = set(), []
    loops: dict[int, list[str]] = {}
    for (head, x), found in reached.items():
        waits = {q for q in found if member[q] == member[head] and rank[q] <= rank[head]}
        if waits and waits != found:
            mixed.append(_mixed(graph, head, x, waits))
        elif waits:
            back.add((head, x))
            if waits != {head}:
                loops.setdefault(member[head], []).extend(f"{head} -> {q}" for q in sorted(waits))
    told = "in a loop of several populations these wait a step: "
    choices = tuple(told + ", ".join(found) for found in loops.values())
    return Loops(frozenset(back), choices, tuple(mixed))


def _reached(start: str, readers: Mapping[str, list[str]], heads: set[str], waiting: set[str]) -> set[str]:
    """Return the populations that `start` leads to, or is, through nodes without state and not through `waiting`."""
    found, seen, ahead = set(), {start}, [start]
    while ahead:
        name = ahead.pop()
        if name in heads:
            found.add(name)
        elif name not in waiting:
            new = set(readers.get(name, ())) - seen
            seen |= new
            ahead += new
    return found


def _ranks(start: str, reached: Mapping[Pair, set[str]]) -> dict[str, int]:
    """Return how many populations lie before each on the shortest way from the input, `start`."""
    onward: dict[str, set[str]] = {}
    for (head, _), found in reached.items():
        onward.setdefault(head, set()).update(found)
    rank, ahead = {start: 0}, deque([start])
    while ahead:
        name = ahead.popleft()
        for reader in onward.get(name, ()):
            if reader not in rank:
                rank[reader] = rank[name] + 1
                ahead.append(reader)
    return rank


def _components(heads: list[str], reached: Mapping[Pair, set[str]]) -> dict[str, int]:
    """Return for every population the number of the loop it is in; alone, a number of its own."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = {name: i for i, name in enumerate(heads)}
    pairs = [(index[head], index[q]) for (head, _), found in reached.items() for q in found]
    rows, columns = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    matrix = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(heads), len(heads)))
    _, labels = connected_components(matrix, directed=True, connection="strong")
    return {name: int(labels[i]) for name, i in index.items()}


def _endless(graph: Graph, readers: Mapping[str, list[str]], heads: list[str]) -> list[str]:
    """Return a node of each loop in which no population lies, found by taking away what nothing waits for."""
    inside = set(graph.nodes) - set(heads)
    unread = {name: sum(reader in inside for reader in readers.get(name, ())) for name in inside}
    sources, done = graph.sources(), [name for name, count in unread.items() if not count]
    while done:
        name = done.pop()
        inside.discard(name)
        for source in sources.get(name, ()):
            if source in inside:
                unread[source] -= 1
                if not unread[source]:
                    done.append(source)
    return sorted(inside)[:1]


def _without_neuron(graph: Graph, name: str) -> Finding:
    what, why = "it is in a loop without a neuron", "such a loop would grow or fade by itself, in no time"
    return Finding("ND035", graph.place(name), what, why, "take the loop apart, or put a neuron into it")


def _mixed(graph: Graph, head: str, reader: str, waits: set[str]) -> Finding:
    what = f'"{head}" reads on through it to a later layer and back to {", ".join(sorted(waits))}'
    why = "back it reads the step before, onward this step"
    return Finding("ND035", graph.place(reader), what, why, "give the way back a layer of its own")
