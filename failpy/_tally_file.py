"""The file in which a process leaves its tally for the run that it is part of."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

from failpy._tally import Tally

__all__ = ["TallyFile", "gathered", "imported_files"]

_DICT: Any = vars(ModuleType)["__dict__"]
# As they are before a test puts something in their place.
_open, _replace = open, os.replace


class TallyFile:
    """A file of this process, in the folder of the run.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str) -> None:
        import json  # no part of `import failpy`

        self._dumps = json.dumps
        self._path = f"{folder}/{os.getpid()}-{os.urandom(4).hex()}.json"

    def write(self, tally: Tally, files: Iterable[str]) -> None:
        """Write the tally down, in place of what was written before.

        Args:
            tally: The tally.
            files: Those in whose source the run shall look for more failpoints.
        """
        text = self._dumps({"tally": tally.data(), "files": list(files)})
        # The disk may be full, the run over and its folder gone: the program is not to suffer for it.
        with suppress(OSError), _open(f"{self._path}.new", "w", encoding="utf-8") as file:
            file.write(text)
            file.close()
            _replace(f"{self._path}.new", self._path)


def gathered(folder: str) -> Iterator[tuple[Tally, list[str]]]:
    """The tallies that processes have left in the folder, each with the files that are to be read."""
    import json
    from pathlib import Path

    for path in sorted(Path(folder).glob("*.json")):
        data = json.loads(path.read_text("utf-8"))
        yield Tally.of(data["tally"]), data["files"]


def imported_files() -> list[str]:
    """The files of the modules imported so far that mention failpy, but for failpy itself."""
    import sysconfig

    own = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - light
    standard = sysconfig.get_path("stdlib") + os.sep
    packages = os.path.join(standard, "site-packages")  # noqa: PTH118 - as above
    files = []
    modules: list[Any] = list(sys.modules.values())
    for module in modules:
        if not isinstance(module, ModuleType):
            continue
        # Not `module.__file__`: a lazy module would be loaded for it.
        file = _DICT.__get__(module).get("__file__")
        if not isinstance(file, str) or not file.endswith(".py") or file.startswith(own):
            continue
        if file.startswith(standard) and not file.startswith(packages):
            continue
        try:
            with _open(file, "rb") as opened:
                mentions = b"failpy" in opened.read()
        except OSError:
            continue
        if mentions:
            files.append(file)
    return sorted(set(files))
