"""sPyNNaker's own firmware for kernels, run spike by spike on a computer: ARM code in the emulator Unicorn.

`planned` lets sPyNNaker map an emitted script on its virtual board and returns what it would load on each core with
kernels. `Core` holds such data beside the code of IF_curr_exp_conv.aplx and calls the function that takes a spike in.
Nothing else of the machine is emulated: no packets, no time, no neurons.

An .aplx begins with records of four words: copy (2) to an address from an offset so many bytes, or clear (3) so many
bytes at an address; 4 ends them. The addresses below are those of this one file, found by its disassembly.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.backends.spinnaker.mapping import VIRTUAL

FIRMWARE = "pyNN/model_binaries/IF_curr_exp_conv.aplx"
SHA256 = "8cfe9d3d417f9f3880c2373bc263fc52d8555265d6d1b4ee637a38baba59d0d1"
PROCESS_SPIKE = 0x2B18
"""local_only_impl_process_spike(time, key, ring_buffers)"""
CONFIG, CONNECTORS, WEIGHTS = 0x4001F4, 0x4001F8, 0x4001FC
"""Pointers that local_only_impl_initialise sets to its copies of the data."""
TYPE_INDEX_BITS, INDEX_BITS, DELAY_MASK = 0x4001D4, 0x4001D8, 0x4001DC
ITCM, DTCM, DATA, RING_BUFFERS, RETURN = 0x0, 0x400000, 0x60000000, 0x60100000, 0x7FFC
HEADER_BYTES, SOURCE_BYTES, CONNECTOR_BYTES = 24, 40, 36
MEASURE = Path(__file__).with_name("spinnaker_kernels.py")


@dataclass(frozen=True)
class Planned:
    """What sPyNNaker plans for one core with kernels.

    Args:
        population: whose cells [first, first + cells) it has.
        bits: of a cell's number, of a synapse type's, of a delay's.
        data: what `local_only_impl_initialise` reads.
        heard: keys of the source cells whose packets come here.
    """

    population: str
    first: int
    cells: int
    bits: tuple[int, int, int]
    data: bytes
    heard: frozenset[int]


def firmware() -> bytes:
    spec = find_spec("spynnaker")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    code = (Path(spec.submodule_search_locations[0]) / FIRMWARE).read_bytes()
    assert hashlib.sha256(code).hexdigest() == SHA256, "other firmware: find its addresses again"
    return code


def planned(script: Path) -> tuple[list[Planned], dict[str, np.ndarray]]:
    """Return the cores with kernels that sPyNNaker plans for `script`, and the key of every cell by population."""
    (script.parent / ".spynnaker.cfg").write_text(VIRTUAL)
    command = [sys.executable, str(MEASURE), script.name]
    subprocess.run(
        command, check=True, capture_output=True, cwd=script.parent, env={"HOME": str(script.parent)}, timeout=240
    )
    cores = []
    with np.load(script.parent / "kernels.npz", allow_pickle=False) as found:
        for i in range(int(found["cores"])):
            local = found[f"{i}/local"].view(np.uint32)
            first, cells = found[f"{i}/cells"].tolist()
            heard = frozenset(found[f"{i}/heard"].tolist())
            bits = (int(local[0]), int(local[1]), int(local[2]))
            cores.append(Planned(str(found[f"{i}/name"]), first, cells, bits, found[f"{i}/data"].tobytes(), heard))
        keys = {name.removeprefix("keys/"): found[name] for name in found.files if name.startswith("keys/")}
    return cores, keys


class Core:
    """The memory of a core that has kernels, as it is when the firmware has read its data."""

    def __init__(self, data: bytes, bits: tuple[int, int, int]) -> None:
        from unicorn import UC_ARCH_ARM, UC_MODE_ARM, Uc

        self._core, code = Uc(UC_ARCH_ARM, UC_MODE_ARM), firmware()
        for start, size in ((ITCM, 0x8000), (DTCM, 0x10000), (DATA, 0x100000), (RING_BUFFERS, 0x10000)):
            self._core.mem_map(start, size)
        record = 0
        while (kind := struct.unpack_from("<I", code, record)[0]) != 4:
            if kind == 2:
                to, offset, size = struct.unpack_from("<III", code, record + 4)
                self._core.mem_write(to, code[record + offset : record + offset + size])
            record += 16
        _, _, _, sources, connectors, _ = struct.unpack_from("<6I", data)
        first = DATA + HEADER_BYTES + sources * SOURCE_BYTES
        self._index, self._types, delay = bits
        self._core.mem_write(DATA, data)
        words = {CONFIG: DATA, CONNECTORS: first, WEIGHTS: first + connectors * CONNECTOR_BYTES}
        words |= {INDEX_BITS: self._index, TYPE_INDEX_BITS: self._index + self._types, DELAY_MASK: (1 << delay) - 1}
        for address, word in words.items():
            self._core.mem_write(address, struct.pack("<I", word))
        self._slots = 1 << delay
        self._bytes = 2 << (self._index + self._types + delay)

    def receive(self, key: int, time: int = 0) -> np.ndarray:
        """Return what one spike adds, uint16 (slot of a later step, synapse type, cell)."""
        from unicorn import arm_const as arm

        self._core.mem_write(RING_BUFFERS, bytes(self._bytes))
        registers: Any = {arm.UC_ARM_REG_SP: DTCM + 0xF000, arm.UC_ARM_REG_LR: RETURN}
        registers |= {arm.UC_ARM_REG_R0: time, arm.UC_ARM_REG_R1: key, arm.UC_ARM_REG_R2: RING_BUFFERS}
        for register, value in registers.items():
            self._core.reg_write(register, value)
        self._core.emu_start(PROCESS_SPIKE, RETURN, count=10_000_000)
        buffers = np.frombuffer(bytes(self._core.mem_read(RING_BUFFERS, self._bytes)), "<u2")
        return buffers.reshape(self._slots, 1 << self._types, 1 << self._index)
