"""The likeness of names: which are so alike that one may be a slip of the other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

__all__ = ["look_alikes", "matches"]

_SEPARATORS = "._-/"
# Not between digits: v1.1 is not v11.
_DROPPED = re.compile(r"(?<!\d)[._\-/]|[._\-/](?!\d)")
_SPLIT = re.compile(r"[._\-/]")
# In a shorter word one edit makes another word too easily: get and set, send and sent.
_MIN_WORD = 5
_MIN_NAME = 6


def matches(name: str, pattern: str) -> bool:
    """Whether a name may be what a pattern with `*` stands for, which says at least a part of it."""
    first, *others = pattern.split("*")
    if not pattern.strip("*"):
        return False
    if not others:
        return name == first
    *between, last = others
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in between:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def look_alikes(names: Iterable[str], once: Collection[str]) -> Iterator[tuple[str, str]]:
    """The pairs of names that look alike.

    They do if they differ in case and separators only; or if both are declared once, and a single slip
    of the hand in one longer word makes one of the other. Such as end in a number or a letter, like
    `shard1` and `shard2`, do not, nor do plurals and past tenses.

    Args:
        names: Distinct names.
        once: Those that are declared at one place only.
    """
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    by_stump: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_key[_DROPPED.sub("", name.casefold())].append(name)
        # Any one slip in a name leaves it and the other with a stump in common.
        for stump in {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))} if name in once else ():
            by_stump[stump].append(name)
    pairs = {(group[0], other) for group in by_key.values() for other in group[1:]}
    for group in by_stump.values():
        for i, one in enumerate(group):
            pairs.update((one, other) for other in group[i + 1 :] if _is_slip(one, other))
    yield from sorted(pairs)


def _is_slip(one: str, other: str) -> bool:
    if min(len(one), len(other)) < _MIN_NAME:
        return False
    words, others = _SPLIT.split(one), _SPLIT.split(other)
    if len(words) != len(others):
        return False
    differing = [pair for pair in zip(words, others, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and _is_slip_of_word(*differing[0])


def _is_slip_of_word(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if len(longer) < _MIN_WORD:
        return False
    start = len(_common(shorter, longer))
    tail = len(_common(shorter[start:][::-1], longer[start:][::-1]))
    cut, kept = shorter[start : len(shorter) - tail], longer[start : len(longer) - tail]
    if any(char.isdigit() for char in cut + kept):
        return False
    if not cut:
        return len(kept) == 1 and not (not longer[start + 1 :] and kept in "sd")
    if len(cut) == len(kept) == 1:  # of one letter at the end, as in step_a, it is a label
        return True
    return len(cut) == 2 and cut == kept[::-1]


def _common(one: str, other: str) -> str:
    """What two words begin with, both of them."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return one[:length]
