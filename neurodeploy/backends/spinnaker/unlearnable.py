"""Which rules none of PyNN's simulators learns by itself, and what exactly each of them lacks.

A rule that would need the host to compute between steps is refused: that would be training, not learning on the target.
"""

from __future__ import annotations

from neurodeploy.errors import Finding

ELSEWHERE = "compile for loihi2-sim and learn there, or train before deployment with `neurodeploy train`"

LACKS: dict[str, tuple[tuple[str, str], ...]] = {
    "spide": (
        (
            "an update by the spikes of two other populations",
            "a synapse of PyNN's hears the neurons at its two ends; W changes by the leaky count of its source in the "
            "forward phase times the ternary spikes of a neuron that computes backwards, and is not at its end",
        ),
        (
            "one weight at two places",
            "the backward phase goes through the transposed synapses, which would be a second projection: none shares "
            "its weights with the one that learns, and a copy hears other neurons",
        ),
        (
            "a trace that waits",
            "the source's count must stand still while the other phase runs; traces of STDP decay in every step",
        ),
        (
            "a gate",
            "backward spikes count where low < A < high, A a count of another population's spikes; no threshold or "
            "synapse is switched by one",
        ),
        (
            "an update at the end of a phase",
            "STDP changes a weight with each spike, and the interval after which e-prop does is one for all of NEST",
        ),
    ),
    "decolle": (
        (
            "an error that is clipped",
            "NEST's eprop_readout sends y - y* as it is, and PyNN has no other model that sends an error",
        ),
        (
            "an output that spikes and hears its own error",
            "NEST's read-out never spikes, and its spiking e-prop neurons hear errors only from read-outs",
        ),
    ),
    "rstdp": (
        (
            "a decision",
            "who spiked most, and whether that was right, is known after the sample; no population of PyNN's counts "
            "and compares, so the host would have to, in the loop",
        ),
        (
            "a tag that acts once and is cleared",
            "the eligibility of NEST's stdp_dopamine_synapse fades with a time constant and changes the weight all the "
            "while, by dopamine less a baseline; here it stays for the sample, and a reward takes it and it is gone",
        ),
        (
            "neuromodulation on the virtual board",
            "sPyNNaker 7.4.1 fails while it generates the data of extra_models.Neuromodulation: "
            "OverflowError: Python integer 3221225472 out of bounds for uint8, with NumPy 2",
        ),
    ),
}
"""Rule -> (what is missing, why)."""

UNABLE = {
    ("eprop", "brian2"): "Brian2 has no e-prop model, and PyNN cannot hand one over",
    ("eprop", "spynnaker"): "sPyNNaker 7.4.1 has no e-prop",
}


def lacking(rule: str) -> list[Finding]:
    """Return everything that keeps a rule from learning on this family; nothing for one that nobody knows."""
    return [
        Finding("ND155", f"{rule} on PyNN", f"it needs {what}", why, ELSEWHERE) for what, why in LACKS.get(rule, ())
    ]


def unable(rule: str, executor: str) -> Finding:
    """Return why one executor does not learn by a rule that others of the family learn by."""
    why = UNABLE.get((rule, executor), "it computes networks as they are compiled, and nothing there changes a weight")
    return Finding("ND155", executor, f"it does not learn by {rule}", why, "use nest or the engine in its place")
