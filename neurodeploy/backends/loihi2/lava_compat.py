"""Let lava-nc 0.10.0 be imported on Python 3.11 to 3.13, without touching an installed file.

lava-nc 0.10.0 declares Python < 3.11 and needs three one-line changes beyond that. A `sys.meta_path` finder makes them
in the source text of the three modules as they are imported, only for that version, and only where each exact text is
found. Anything else is refused: an edit that is merely likely to fit is not made.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType

from neurodeploy.errors import BackendUnavailableError, Finding

LAVA_VERSION = "0.10.0"
NUMPY_BELOW = (2, 4)
"""From NumPy 2.4 on, one-element arrays no longer become scalars and parts of Lava hang."""

INSTALL = (
    f'pip install "neurodeploy[lava]" and then pip install --no-deps --ignore-requires-python lava-nc=={LAVA_VERSION}'
)


@dataclass(frozen=True)
class SourceEdit:
    """One text in one of Lava's modules, and what it has to read instead.

    `why` names the change in Python or NumPy that makes the edit necessary; `occurrences` is how often the release has
    the text.
    """

    module: str
    old: str
    new: str
    why: str
    occurrences: int = 1


EDITS: tuple[SourceEdit, ...] = (
    SourceEdit(
        "lava.magma.compiler.var_model",
        "@dataclass\nclass ByteEncoder:",
        "@dataclass(unsafe_hash=True)\nclass ByteEncoder:",
        "from Python 3.11 on, a dataclass default must be hashable",
    ),
    SourceEdit(
        "lava.magma.core.process.ports.ports",
        "ft.partial(np.reshape, newshape=",
        "ft.partial(lambda a, shape: np.reshape(a, shape), shape=",
        "np.reshape(newshape=) is deprecated since NumPy 2.1",
        occurrences=2,
    ),
    SourceEdit(
        "lava.magma.runtime.message_infrastructure.multiprocessing",
        "mp.set_start_method('fork')",
        "mp.set_start_method('fork', force=True)",
        "a process that already used multiprocessing (tqdm, a DataLoader, joblib) may not choose again without force",
    ),
)


class EditingLoader(importlib.machinery.SourceFileLoader):
    """Compiles one module from its edited source text; never reads or writes bytecode files."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_source(fullname)
        return compile(edited(fullname, source or ""), self.path, "exec", dont_inherit=True)


class EditingFinder(importlib.abc.MetaPathFinder):
    """Finds only the modules named in `EDITS`, and loads them with `EditingLoader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if all(edit.module != fullname for edit in EDITS):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return spec
        return importlib.util.spec_from_loader(fullname, EditingLoader(fullname, spec.origin))


def edited(module: str, source: str) -> str:
    """Return `source` with every edit of `module` made.

    Raises:
        BackendUnavailableError: ND301 when a text to change does not occur as often as in the release.
    """
    for edit in EDITS:
        if edit.module != module:
            continue
        found = source.count(edit.old)
        if found != edit.occurrences:
            raise BackendUnavailableError(
                Finding(
                    "ND301",
                    module,
                    f"the text {edit.old!r} occurs {found} times in the installed lava-nc, not {edit.occurrences}",
                    f"this lava-nc is not the released {LAVA_VERSION}; the change is needed because {edit.why}",
                    f"install the release: pip install --force-reinstall --no-deps --ignore-requires-python "
                    f"lava-nc=={LAVA_VERSION}",
                )
            )
        source = source.replace(edit.old, edit.new)
    return source


def availability() -> Finding | None:
    """Say why Lava cannot run here, or None; reads the installed packages' metadata and imports nothing."""
    lava = _installed("lava-nc")
    if lava is None:
        return Finding("ND300", "lava-nc", "lava-nc is not installed", "Intel's simulator runs the program", INSTALL)
    if lava != LAVA_VERSION:
        return Finding(
            "ND300",
            "lava-nc",
            f"lava-nc {lava} is installed",
            f"neurodeploy's claims are tested against lava-nc {LAVA_VERSION} only",
            INSTALL,
        )
    numpy = _installed("numpy") or "0"
    if tuple(int(part) for part in numpy.split(".")[:2]) >= NUMPY_BELOW:
        return Finding(
            "ND302",
            "numpy",
            f"numpy {numpy} is installed",
            "from 2.4 on, one-element arrays no longer become scalars, and parts of Lava 0.10.0 hang",
            'pip install "numpy>=1.26,<2.4"',
        )
    return None


def require_lava() -> None:
    """Make `import lava` work in this interpreter, or say what is missing.

    Installs the finder once. Importing Lava also chooses `fork` as multiprocessing's start method for this process.

    Raises:
        BackendUnavailableError: ND300 lava-nc absent or of another version, ND301 its source is not the release's,
            ND302 NumPy too new.
    """
    finding = availability()
    if finding is not None:
        raise BackendUnavailableError(finding)
    if not any(isinstance(finder, EditingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, EditingFinder())
    for edit in EDITS:
        importlib.import_module(edit.module)


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
