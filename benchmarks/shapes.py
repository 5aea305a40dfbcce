"""Every shape of function that can be decorated, each built twice from the same source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

__all__ = ["FUNCTION", "SHAPES", "Shape"]


@dataclass(frozen=True)
class Shape:
    """A function that `mark` decorates, and the statement that runs it once.

    Both sides of a ratio are compiled from this text, so that they differ in `mark` alone.
    """

    name: str
    source: str
    statement: str

    def build(self, mark: Callable[[Any], Any]) -> dict[str, object]:
        """Return the globals that the statement needs, with the function decorated by `mark`."""
        names: dict[str, object] = {"mark": mark}
        exec(dedent(self.source), names)
        return names


FUNCTION = Shape(
    "function",
    """
    @mark
    def call():
        return "default"
    """,
    "call()",
)

SHAPES = (
    FUNCTION,
    Shape(
        "method",
        """
        class Owner:
            @mark
            def call(self):
                return "default"
        owner = Owner()
        """,
        "owner.call()",
    ),
    Shape(
        "classmethod",
        """
        class Owner:
            @mark
            @classmethod
            def call(cls):
                return "default"
        """,
        "Owner.call()",
    ),
    Shape(
        "staticmethod",
        """
        class Owner:
            @mark
            @staticmethod
            def call():
                return "default"
        """,
        "Owner.call()",
    ),
    Shape(
        "property",
        """
        class Owner:
            @mark
            @property
            def value(self):
                return "default"
        owner = Owner()
        """,
        "owner.value",
    ),
    Shape(
        "closure",
        """
        def make(text):
            @mark
            def call():
                return text
            return call
        call = make("default")
        """,
        "call()",
    ),
    Shape(
        "coroutine",
        """
        @mark
        async def call():
            return "default"
        """,
        "try: call().send(None)\nexcept StopIteration: pass",
    ),
    Shape(
        "generator",
        """
        @mark
        def call():
            yield "default"
        """,
        "for _ in call(): pass",
    ),
    Shape(
        "async generator",
        """
        @mark
        async def call():
            yield "default"
        """,
        dedent(
            """\
            items = call()
            try: items.asend(None).send(None)
            except StopIteration: pass
            try: items.asend(None).send(None)
            except StopAsyncIteration: pass
            """
        ),
    ),
)
