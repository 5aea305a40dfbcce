"""The section of a failure report that says what the failpoints of the test did, and how to run it again."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from failpy._activation import Activation
from failpy._context import Layer, process
from failpy._trial import Trial

if TYPE_CHECKING:
    import pytest

__all__ = ["section"]

_SHOWN = 20


def section(trial: Trial, config: pytest.Config) -> str:
    """What to print below the failure of this test; empty when nothing was armed in it."""
    armed = _armed(trial)
    if not armed:
        return ""
    lines = ["armed:", *(f"  {line}" for line in _last(armed))]
    trace = trial.trace()
    if trace:
        shown = _last([str(entry) for entry in trace], trace.dropped)
        lines += ["trace:", *(f"  {line}" for line in shown)]
    seeds = dict.fromkeys(layer.seed for layer in (*trial.scopes(), *_process_if_armed()))
    lines.append(f"seed: {', '.join(map(str, seeds))}")
    lines.append(f"run it again: {_command(trial, config, next(iter(seeds)))}")
    return "\n".join(lines)


def _process_if_armed() -> tuple[Layer, ...]:
    return (process,) if process.activations else ()


def _last(lines: list[str], dropped: int = 0) -> list[str]:
    """The last lines, and how many there were before them.

    Args:
        lines: What there is.
        dropped: How many there were before that.
    """
    before = dropped + max(0, len(lines) - _SHOWN)
    return [f"... {before:,} more", *lines[-_SHOWN:]] if before else lines


def _everything(trial: Trial) -> list[tuple[Activation, Layer | None]]:
    armed = trial.activations()
    held = {id(activation) for activation, _ in armed}
    earlier: list[tuple[Activation, Layer | None]] = [
        (each, process) for each in process.activations.values() if id(each) not in held
    ]
    return earlier + armed


def _armed(trial: Trial) -> list[str]:
    counts: dict[str, list[int]] = {}
    for activation, layer in _everything(trial):
        if layer is process:
            where = "the process scope"
        elif layer is trial.scope:
            where = "the test's scope"
        else:
            where = "a scope in the test"
        hits, _, fired = activation.counts
        count = counts.setdefault(f"{activation.name}={activation.terms}  ({where}", [0, 0, 0])
        count[:] = count[0] + 1, count[1] + hits, count[2] + fired
    lines = []
    for text, (armed, hits, fired) in counts.items():
        often = f", {armed} times" if armed > 1 else ""
        done = f"{_times(hits, 'hit')}, {_times(fired, 'fired')}" if hits else "never hit"
        lines.append(f"{text}{often}): {done}")
    if trial.forgotten:
        lines.append(f"and what was armed {trial.forgotten:,} times before that, which is not kept")
    return lines


def _times(count: int, what: str) -> str:
    return f"never {what}" if count == 0 else f"{what} {'once' if count == 1 else f'{count:,} times'}"


def _nodeid(item: pytest.Item, config: pytest.Config) -> str:
    """The node id, as it is written in the folder that pytest was started in."""
    path, *names = item.nodeid.split("::")
    path = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    return "::".join((path, *names))


def _command(trial: Trial, config: pytest.Config, seed: int) -> str:
    """The line for a shell that runs this test alone, with the same terms and draws."""
    entries: dict[str, str] = {}
    # What the test arms in its body it arms again by itself, and not before.
    standing = {name: each.terms for name, each in process.activations.items() if each.when is None}
    for name, chain in (standing | trial.given()).items():
        if chain.text is not None:
            entries[name] = chain.text
    words = ["pytest", shlex.quote(_nodeid(trial.item, config))]
    if entries:
        terms = ";".join(f"{name}={text}" for name, text in entries.items())
        words += ["--failpoints", shlex.quote(terms)]
    return " ".join([*words, "--failpoints-seed", str(seed)])
