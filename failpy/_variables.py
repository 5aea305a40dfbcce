"""Scripts and settings: files that are not Python, and what they arm with `FAILPY_FAILPOINTS`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from failpy._errors import InvalidName
from failpy._mentions import VARIABLE, Malformed, Place, Use, entries
from failpy._names import check_name

__all__ = ["is_settings", "read_settings"]

_SCRIPTS = (
    "*.sh",
    "*.bash",
    "*.zsh",
    "*.mk",
    "*makefile",
    "dockerfile*",
    "*.dockerfile",
    "containerfile*",
    "procfile",
    ".envrc",
)
_YAML = ("*.yml", "*.yaml")
# Where a value without quotes goes on to the end of the line.
_LINES = (".env", ".env.*", "*.env", "*.toml", "*.ini", "*.cfg")

_WORD = re.compile(r"""(?:[^\s"'\\;&|]|\\.|"(?:[^"\\]|\\.)*+"|'[^']*+')*+""", re.DOTALL)
_PIECE = re.compile(r"""'([^']*+)'|"((?:[^"\\]|\\.)*+)"|\\(.)|([^'"\\]++)""", re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\$`])')
_QUOTED = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL),
    "'": re.compile(r"'((?:[^']|'')*+)'", re.DOTALL),
}
_BLANK = re.compile(r"[ \t]*+")
_GAP = re.compile(r"(?:[ \t]|\\\n)*+")
_BLOCK = re.compile(r"[|>][+-]?[ \t]*$", re.MULTILINE)

_SETTING = re.compile(
    rf"""(?<![\w$.])(?<!\$\{{)(?P<open>["']?){VARIABLE}(?P<close>["']?)"""
    r"""(?P<how>[ \t]*[:?+]{0,2}=(?!=)|[ \t]*:(?=\s))"""
)
_COMMAND = re.compile(r"(?<![\w./-])failpy[ \t]+(?P<verb>enable|disable)[ \t]+(?=[^-\s])")
_COMMENT = re.compile(r"(?:^|\s)#")


def _is(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def is_settings(name: str) -> bool:
    """Whether a file of this name is one in which the variable may be set."""
    return _is(name, _SCRIPTS + _YAML + _LINES)


def read_settings(text: str, file: str, name: str) -> Iterator[Use | Malformed]:
    """What a file sets the variable to, and which points it enables and disables with `failpy`.

    Args:
        text: What is in it.
        file: Its path, for messages.
        name: Its name, which tells how values are quoted.
    """
    for match in _SETTING.finditer(text):
        if not _COMMENT.search(_before(text, match.start())):
            place = _place(text, file, match.start())
            value = _value(text, match, name)
            if value is None:
                yield Use(None, None, place, "environ", typed=False, pattern="*")
            else:
                yield from entries(value, place, "environ")
    if _is(name, _LINES):
        return
    for match in _COMMAND.finditer(text):
        before = _before(text, match.start())
        # In quotes it is told of, not done.
        if not _COMMENT.search(before) and before.count('"') % 2 == before.count("'") % 2 == 0:
            yield from _command(text, match, _place(text, file, match.start()))


def _place(text: str, file: str, at: int) -> Place:
    return Place(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _before(text: str, at: int) -> str:
    """What stands before this on its line."""
    return text[text.rfind("\n", 0, at) + 1 : at]


def _value(text: str, match: re.Match[str], name: str) -> str | None:
    """What the variable is set to; None when the file does not say."""
    start, how = match.end(), match["how"]
    if match["open"] and match["open"] != match["close"]:  # "NAME=value"
        value = _in_quotes(match["open"] + text[start:], 0, yaml=_is(name, _YAML))
    elif _is(name, _LINES) or (_is(name, _YAML) and how.endswith(":")):
        start = _BLANK.match(text, start).end()  # type: ignore[union-attr]
        value = _scalar(text, match.start(), start, yaml=_is(name, _YAML))
    elif how != "=" or _is_item(text, match.start()):
        value = _rest(text, start)
    else:
        return _shell_word(text, start)
    return None if value is None or _is_computed(value) else value


def _scalar(text: str, begin: int, start: int, *, yaml: bool) -> str | None:
    if text[start : start + 1] in _QUOTED:
        return _in_quotes(text, start, yaml=yaml)
    if yaml and _BLOCK.match(text, start):
        return _block(text, begin)
    return _rest(text, start)


def _rest(text: str, start: int) -> str:
    """What is left of the line, without a comment."""
    end = text.find("\n", start)
    return re.split(r"\s#", text[start : len(text) if end < 0 else end], maxsplit=1)[0].strip()


def _in_quotes(text: str, start: int, *, yaml: bool) -> str | None:
    quote = text[start]
    match = _QUOTED[quote].match(text, start)
    if match is None:
        return None
    if quote == '"':
        return _ESCAPED.sub(r"\1", match[1])
    return match[1].replace("''", "'") if yaml else match[1]


def _is_item(text: str, at: int) -> bool:
    """Whether the setting is an item of a list in YAML: there it ends with the line."""
    return _before(text, at).strip() == "-"


def _is_computed(value: str) -> bool:
    return "$" in value or "{{" in value


def _shell_word(text: str, start: int) -> str | None:
    """A word as a shell reads it, from several quoted pieces or not."""
    word = _WORD.match(text, start)
    if word is None or text[word.end() : word.end() + 1] in ('"', "'"):  # a quote that nothing closes
        return None
    pieces = []
    for single, double, escaped, plain in _PIECE.findall(word[0]):
        if _is_computed(double + plain):
            return None
        pieces.append(single + _ESCAPED.sub(r"\1", double) + escaped.strip("\n") + plain)
    return "".join(pieces)


def _block(text: str, at: int) -> str:
    """The lines of a block of YAML: those indented deeper than the line that begins it."""
    first = text.rfind("\n", 0, at) + 1
    head, *lines = text[first:].split("\n")
    depth = len(head) - len(head.lstrip(" -"))
    block = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip(" ")) <= depth:
            break
        block.append(line.strip())
    return "\n".join(block)


def _command(text: str, match: re.Match[str], place: Place) -> Iterator[Use | Malformed]:
    words = []
    at = match.end()
    # An option may have a value, which is no name, so that is where this ends.
    while text[at : at + 1] not in ("-", "#") and (word := _WORD.match(text, at)) and word[0]:
        words.append(_shell_word(text, at))
        at = _GAP.match(text, word.end()).end()  # type: ignore[union-attr]
    if match["verb"] == "disable":
        yield from (_use(each, None, "disable", place) for each in words)
    elif words[1:] and words[0] and "=" not in words[0]:
        yield _use(words[0], words[1], "command", place)
    else:
        for each in words:
            if each is None:
                yield _use(None, None, "command", place)
            elif "=" in each:
                yield from entries(each, place, "command")


def _use(name: str | None, terms: str | None, kind: str, place: Place) -> Use:
    try:
        known = None if name is None else check_name(name)
    except InvalidName:
        known = None
    return Use(known, terms, place, kind, typed=False, pattern=known or "*")
