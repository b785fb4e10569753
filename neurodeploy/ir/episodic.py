"""`EpisodicProgram`: e-prop as Bellec et al. 2020 train with it, an update after every sample, in real numbers.

A hidden population, perhaps recurrent, learns from the error of a leaky read-out that never spikes. A sample takes
`QUIET_STEPS` silent steps and then its own; everything rests when it begins. In its step n, W as the sample found it:

    v(n) = beta v(n-1) + W_in x(n) + W_rec z(n-1) + bias - theta z(n-1)      z(n) = [v(n) > theta]
    y(n) = kappa y(n-1) + W_out z(n) + bias_out         err(n) = softmax(y(n)) - target        L(n) = B err(n)
    psi  = 0.3 / theta max(0, 1 - |v - theta| / theta)
    eps  = beta eps' + x                  x: the input's spikes of step n, or the neurons' own of step n - 1
    e    = kappa e' + (1 - kappa) psi eps
    dW   = -rate sum_n (L e + regularizer (r - target_rate) / steps psi eps)
    dW_out = -readout_rate sum_n err zbar                              zbar = kappa zbar' + z

with r the neuron's mean firing rate in the sample, and steps the sample's, silent ones too. Biases do not learn, and
are silent then as well; no neuron feeds itself.

These are NEST's `eprop_iaf_bsshslm_2020` and its companions, which hold an update back until the synapse's next spike;
that spike must not come before the last errors have, hence the silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodeploy.ir.onchip import PlasticPopulation, RealNeuron, SpikeChain

QUIET_STEPS = 4
"""As a sample begins."""
DAMPENING = 0.3
"""The height of psi, over the threshold."""


@dataclass(frozen=True, eq=False)
class EpisodicProgram(SpikeChain):
    """A hidden population and a read-out that learn; see the module.

    Args:
        populations: hidden and output. The output's threshold and reset are those it is deployed with, and nothing
            here reads them.
        steps: of a sample's input.
        seed: of what was drawn.
        start: steps before the first sample: none.
    """

    populations: tuple[PlasticPopulation, PlasticPopulation]
    steps: int
    seed: int = 0
    start: int = 0

    @property
    def hidden(self) -> PlasticPopulation:
        return self.populations[0]

    @property
    def output(self) -> PlasticPopulation:
        return self.populations[1]

    @property
    def kappa(self) -> float:
        """What is left of the read-out, and of an eligibility, after a step."""
        assert isinstance(self.output.neuron, RealNeuron)
        return float(self.output.neuron.beta.flat[0])

    @property
    def period(self) -> int:
        """Steps from one sample to the next."""
        return QUIET_STEPS + self.steps

    def padded(self, spikes: np.ndarray) -> np.ndarray:
        """Return spikes (sample, step, input) with the silence before every sample."""
        return np.pad(np.asarray(spikes, self.input_type), ((0, 0), (QUIET_STEPS, 0), (0, 0)))
