"""`AdditiveProgram`: features that learn by PyNN's additive pair STDP, in real numbers, as its simulators do.

Features compete through static inhibition; an output, which does not learn, counts them when deployed. In time step n,
counted on through all samples, of which each takes `steps` steps and a silent `pause`, nothing being reset:

    v(n) = beta v(n-1) + W x(n) + V z(n - loop)           z(n) = [v(n) > theta], which sets v to 0

and for every pair of an input spike in step m and a feature's in step n, with d = n + late - m,

    dw = a_plus exp(-d / tau_plus)     if d > 0           dw = -a_minus exp(d / tau_minus)      if d < 0

in the order of time, w kept within 0 and w_max. What is left open here each simulator decides for itself, see
`Convention`.
"""

from __future__ import annotations

from dataclasses import dataclass

from neurodeploy.ir.onchip import Postsynaptic, RealNeuron, RealSynapses, SpikeChain


@dataclass(frozen=True)
class Convention:
    """How a simulator of PyNN's reads its pair rule.

    Args:
        late: steps by which a feature's spike is later for its synapses than `n` of the equations says.
        coincident: whether d = 0 counts, as a pair that raises w.
        held_back: whether w changes only as its input spikes, so that what follows the last spike is not seen.
        loop: steps from a feature's spike to the features it inhibits.
    """

    late: int
    coincident: bool
    held_back: bool
    loop: int


CONVENTIONS = {
    "nest": Convention(late=2, coincident=False, held_back=True, loop=1),
    "brian2": Convention(late=1, coincident=True, held_back=False, loop=2),
}
"""In NEST the whole delay is dendritic, and a spike is there a step after what caused it; in Brian2 all of the delay is
axonal, two steps pass, and of one step's events a synapse's input comes first."""
UNDECIDED = -1
"""What stands for a decision while features learn: nobody decides."""
PAUSE_MIN = 6
"""Silent steps in which everything that a sample caused has arrived."""


@dataclass(frozen=True)
class PairRule:
    """The numbers of SpikePairRule and AdditiveWeightDependence, in membrane units and steps."""

    a_plus: float
    a_minus: float
    tau_plus: float
    tau_minus: float
    w_max: float


@dataclass(frozen=True, eq=False)
class AdditivePopulation(Postsynaptic):
    """One population and the synapses that feed it: of the features also their inhibition, as `recurrent`."""

    name: str
    neuron: RealNeuron
    forward: RealSynapses
    recurrent: RealSynapses | None


@dataclass(frozen=True, eq=False)
class AdditiveProgram(SpikeChain):
    """Features that learn, and an output; see the module.

    Args:
        populations: features and output.
        convention: whose, a key of `CONVENTIONS`.
        steps: of a sample; pause: silent ones after it.
        seed: of what was drawn.
        start: steps before the first sample: none.
    """

    populations: tuple[AdditivePopulation, AdditivePopulation]
    pairs: PairRule
    convention: str
    steps: int
    pause: int
    seed: int = 0
    start: int = 0

    @property
    def features(self) -> AdditivePopulation:
        return self.populations[0]

    @property
    def output(self) -> AdditivePopulation:
        return self.populations[1]

    @property
    def period(self) -> int:
        """Steps from one sample to the next."""
        return self.steps + self.pause
