"""Lava Processes for what Lava's own cannot express, for use in any Lava program.

Importing this package makes lava-nc importable (`lava_compat.require_lava`). Lava looks for process models by executing
every file next to a Process, so each file here only defines things, and each holds a Process together with its models.
"""

from neurodeploy.backends.loihi2.lava_compat import require_lava

require_lava()

from neurodeploy.backends.loihi2.processes.learning_network import LearningNetwork  # noqa: E402
from neurodeploy.backends.loihi2.processes.local_readout import LocalReadout  # noqa: E402
from neurodeploy.backends.loihi2.processes.paired_lif import CompetingLIF, Judge, RewardedLIF  # noqa: E402
from neurodeploy.backends.loihi2.processes.paired_network import PairedNetwork  # noqa: E402
from neurodeploy.backends.loihi2.processes.phased_ring import (  # noqa: E402
    PhasedNeurons,
    PhasedReadout,
    PhasedSource,
)
from neurodeploy.backends.loihi2.processes.plastic_lif import PlasticLIF, PlasticReadout  # noqa: E402
from neurodeploy.backends.loihi2.processes.plastic_network import PlasticNetwork  # noqa: E402
from neurodeploy.backends.loihi2.processes.recorder import Recorder  # noqa: E402
from neurodeploy.backends.loihi2.processes.resetting_lif import ResettingLIF  # noqa: E402
from neurodeploy.backends.loihi2.processes.spide_network import SpideNetwork  # noqa: E402
from neurodeploy.backends.loihi2.processes.spike_input import SpikeInput  # noqa: E402
from neurodeploy.backends.loihi2.processes.stock import (  # noqa: E402
    PyConvModelWide,
    PyLearningDenseModelFixedRecorded,
    PyLearningDenseModelFloatRecorded,
    PyLifResetModelRecorded,
)
from neurodeploy.backends.loihi2.processes.taught_input import TaughtInput  # noqa: E402

__all__ = [
    "CompetingLIF",
    "Judge",
    "LearningNetwork",
    "LocalReadout",
    "PairedNetwork",
    "PhasedNeurons",
    "PhasedReadout",
    "PhasedSource",
    "PlasticLIF",
    "PlasticNetwork",
    "PlasticReadout",
    "PyConvModelWide",
    "PyLearningDenseModelFixedRecorded",
    "PyLearningDenseModelFloatRecorded",
    "PyLifResetModelRecorded",
    "Recorder",
    "ResettingLIF",
    "RewardedLIF",
    "SpideNetwork",
    "SpikeInput",
    "TaughtInput",
]
