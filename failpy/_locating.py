"""Locating an error of failpy's at the test that it is about, as pytest shows an error of the test's own."""

from __future__ import annotations

import ast
import inspect
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pytest

__all__ = ["body_of", "located"]

E = TypeVar("E", bound=BaseException)


def body_of(item: pytest.Item) -> CodeType | None:
    """The code of the test as it is written, beneath decorators and Hypothesis; None when it has none."""
    # Not `item.function`: for that, pytest makes the instance of the test's class, and unittest's async
    # one copies the context of the moment.
    name = getattr(item, "originalname", None) or item.name
    function: Any = getattr(getattr(item.parent, "obj", None), name, None)
    if not callable(function):
        return None
    function = inspect.unwrap(function)
    function = inspect.unwrap(getattr(getattr(function, "hypothesis", None), "inner_test", function))
    code: CodeType | None = getattr(function, "__code__", None)
    return code


def located(error: E, item: pytest.Item, word: str) -> E:
    """The error, with a traceback that ends in the test: in the decorator with the word, else at its `def`.

    The scope of a test has no line of its own in the test, which a traceback could show by itself.
    """
    code = body_of(item)
    if code is None:
        return error
    # Made, and not parsed: CPython 3.11 loses count where several threads parse at once.
    tree = ast.fix_missing_locations(ast.Module([ast.Raise(ast.Name("error", ast.Load()))], []))
    line, text = _line(code, word)
    # The lines of code are kept relative to its first.
    ast.increment_lineno(tree, line - code.co_firstlineno)
    for node in ast.walk(tree):  # the whole line, so that nothing of it is underlined
        if isinstance(node, ast.stmt | ast.expr):
            node.col_offset, node.end_col_offset = len(text) - len(text.lstrip()), len(text)
    raising = compile(tree, code.co_filename, "exec").replace(
        co_name=code.co_name, co_qualname=code.co_qualname, co_firstlineno=code.co_firstlineno
    )
    error.__traceback__ = None
    try:
        exec(raising, {"error": error, "__name__": item.name})  # noqa: S102 - one statement, of our own
    except BaseException as raised:
        traceback = raised.__traceback__
        assert traceback is not None
        error.__traceback__ = traceback.tb_next
    return error


def _line(code: CodeType, word: str) -> tuple[int, str]:
    """The line of the decorator with the word in it, else of the `def`; and its text."""
    first = code.co_firstlineno
    try:
        lines, _ = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return first, ""
    for number, line in enumerate(lines, first):
        text = line.strip()
        if (text.startswith("@") and word in text) or text.startswith(("def ", "async def ")):
            return number, line.rstrip()
    return first, ""
