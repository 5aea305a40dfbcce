"""The source of a project: what its files say about failpoints, read without importing any of them."""

from __future__ import annotations

import ast
import codecs
import io
import os
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from failpy._code import mentions
from failpy._errors import FailpointError
from failpy._folding import Modules
from failpy._mentions import VARIABLE, Declaration, Malformed, Problem, Source, Use
from failpy._spaces import Module
from failpy._variables import is_settings, read_settings

__all__ = ["read_source"]

_LARGE = {True: 5_000_000, False: 200_000}  # in bytes: of Python, and of settings, which take longer
_PYTHON = (".py", ".pyi", ".pyw")
_SKIPPED = {"venv", "node_modules", "__pycache__", "build", "dist"}
# Hidden folders in which what runs the tests is kept.
_READ = {".ci", ".circleci", ".devcontainer", ".github", ".gitlab"}
_SHEBANG = re.compile(rb"#![^\n]*python")
_SILENCE = re.compile(r"#[ \t]*failpy:[ \t]*ignore(?:\[([^\]\n]*)\])?")


def read_source(paths: Iterable[str | os.PathLike[str]]) -> Source:
    """Read files and folders, and give what they say about failpoints.

    Python files are parsed and never run. In shell scripts, Makefiles, Dockerfiles, YAML, TOML and
    files of variables, what sets `FAILPY_FAILPOINTS` is found, and `failpy enable` and `failpy disable`.
    Virtual environments, `build`, `dist`, `node_modules` and hidden folders are passed over, unless they
    are given themselves; folders that are symbolic links are not followed.

    Args:
        paths: Files and folders. A name may come from a constant in another of the files, so give all
            that belong together in one call.

    Raises:
        TypeError: when it is a single path.
        FailpointError: when there is nothing at one of the paths.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "shop.py")
        ...     _ = file.write_text("import failpy; failpy.point('db.write')")
        ...     [each.name for each in read_source([folder]).declarations]
        ['db.write']
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of paths, not {paths!r}: write [{str(paths)!r}]")
    reader = _Reader()
    for path in paths:
        for file in _files(Path(path), reader.problems):
            reader.add(file)
    return reader.source()


def _files(path: Path, problems: list[Problem]) -> Iterator[Path]:
    """The files at a path, in order."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise FailpointError(f"there is nothing to read at {str(path)!r}: give files and folders that exist")

    def unreadable(exc: OSError) -> None:
        problems.append(_unreadable(exc, str(exc.filename)))

    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = sorted(name for name in folders if _is_wanted(Path(folder, name)))
        for name in sorted(names):
            is_python = name.endswith((".py", ".pyi")) and not name.startswith(".")
            if (is_python or is_settings(name)) and Path(folder, name).is_file():
                yield Path(folder, name)


def _is_wanted(folder: Path) -> bool:
    name = folder.name
    if name in _SKIPPED or name.endswith(".egg-info") or (name.startswith(".") and name not in _READ):
        return False
    return not (folder / "pyvenv.cfg").exists()


def _unreadable(exc: OSError, file: str) -> Problem:
    return Problem(file, 1, f"it cannot be read: {exc.strerror}; see to its permissions, or leave it out")


class _Reader:
    """Files that are read one by one, and put together at the end."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._seen: set[Path] = set()
        self._files: list[str] = []
        self._modules: list[Module] = []
        self._found: list[Declaration | Use | Malformed] = []
        self._silenced: dict[tuple[str, int], frozenset[str]] = {}

    def add(self, path: Path) -> None:
        """Read one file, unless it has been read."""
        location = path.resolve()
        if location in self._seen:
            return
        self._seen.add(location)
        file = str(path)
        self._files.append(file)
        try:
            data = path.read_bytes()
        except OSError as exc:
            self.problems.append(_unreadable(exc, file))
            return
        if len(data) > _LARGE[path.suffix in _PYTHON]:
            reason = f"it is too large to be read, with {len(data)} bytes; leave it out"
            self.problems.append(Problem(file, 1, reason))
            return
        try:
            if path.suffix in _PYTHON or _SHEBANG.match(data):
                self._add_python(data, file, location)
            elif VARIABLE.encode() in data or b"failpy" in data:
                self._add_settings(data, file, path.name)
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            reason = f"it is not {exc.encoding}: {exc.reason}; save it as UTF-8, or say its encoding"
            self.problems.append(Problem(file, line, reason))
        except SyntaxError as exc:
            reason = f"it is no Python that {_version()} can read: {exc.msg}; mend it, or leave it out"
            self.problems.append(Problem(file, exc.lineno or 1, reason))
        except (ValueError, LookupError, MemoryError, RecursionError, tokenize.TokenError) as exc:
            why = str(exc) or "it is nested too deeply"
            reason = f"it is no Python that {_version()} can read: {why}; mend it, or leave it out"
            self.problems.append(Problem(file, 1, reason))

    def _add_python(self, data: bytes, file: str, location: Path) -> None:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings, say, which are not ours to tell
            tree = ast.parse(text)
        self._modules.append(Module(file, location, text, tree))
        if _SILENCE.search(text):
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.COMMENT:
                    self._silence(token.string, file, token.start[0])

    def _add_settings(self, data: bytes, file: str, name: str) -> None:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8").replace("\r\n", "\n")
        self._found += read_settings(text, file, name)
        for line, each in enumerate(text.split("\n"), 1):
            self._silence(each, file, line)

    def _silence(self, comment: str, file: str, line: int) -> None:
        match = _SILENCE.search(comment)
        if match:
            self._silenced[file, line] = frozenset(re.findall(r"\w+", match[1] or ""))

    def source(self) -> Source:
        """All that was found."""
        modules = Modules(self._modules)
        for module in self._modules:
            try:
                self._found += mentions(module, modules)
            except RecursionError:
                reason = "an expression in it is nested too deeply to be read; leave it out"
                self.problems.append(Problem(module.file, 1, reason))
        found = sorted(dict.fromkeys(self._found), key=lambda each: each.place)
        return Source(
            tuple(self._files),
            tuple(each for each in found if isinstance(each, Declaration)),
            tuple(each for each in found if isinstance(each, Use)),
            tuple(each for each in found if isinstance(each, Malformed)),
            tuple(sorted(self.problems)),
            self._silenced,
        )


def _version() -> str:
    import platform

    return f"Python {platform.python_version()}"
