"""The objects that expressions make where a failpoint is declared or armed: terms and types."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from failpy import _terms
from failpy._folding import Modules, Text
from failpy._grammar import parse
from failpy._spaces import Given, Named, Space
from failpy._terms import Term, Terms

__all__ = ["built_in_type", "terms_of", "type_of"]

_TERMS = {f"failpy.{name}": vars(_terms)[name] for name in _terms.__all__ if name not in ("Term", "Terms")}
_TERMS["failpy.parse"] = parse
# An alias may be made of itself.
_MAX_DEPTH = 20


def terms_of(expr: ast.expr, space: Space, modules: Modules) -> tuple[str | None, bool]:
    """The terms that an expression says.

    Returns:
        Their text, or the Python source of typed terms of which no text is known here; None when the
            expression does not say them. And whether it is Python source.
    """
    values = modules.values(expr, space)
    value = values[0] if len(values) == 1 else None
    if isinstance(value, Text):
        return value.constant, False
    if not isinstance(value, Given) or not _is_typed(value.node, value.space, modules):
        return None, False
    try:
        built = _built(value.node, value.space, modules)
        text = built.text
    except (TypeError, ValueError, _UnsaidError):
        text = None
    return (ast.unparse(value.node), True) if text is None else (text, False)


class _UnsaidError(Exception):
    pass


def _named(node: ast.expr, space: Space, modules: Modules) -> str | None:
    return next((each.text for each in modules.values(node, space) if isinstance(each, Named)), None)


def _is_typed(node: ast.expr, space: Space, modules: Modules) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_typed(node.left, space, modules) or _is_typed(node.right, space, modules)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr == "chance":
        return _is_typed(node.func.value, space, modules)
    return _named(node.func, space, modules) in _TERMS


def _built(node: ast.expr, space: Space, modules: Modules) -> Term | Terms:
    """The typed terms themselves, where they are made of literals."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
            term = _built(node.right, space, modules)
            if isinstance(term, Term):
                return node.left.value * term  # type: ignore[operator]
        elif isinstance(node.op, ast.RShift):
            return _built(node.left, space, modules) >> _built(node.right, space, modules)
        raise _UnsaidError
    if not isinstance(node, ast.Call):
        raise _UnsaidError
    args = [ast.literal_eval(each) for each in node.args]
    kwargs = {each.arg or "": ast.literal_eval(each.value) for each in node.keywords}
    if isinstance(node.func, ast.Attribute) and node.func.attr == "chance":
        term = _built(node.func.value, space, modules)
        if isinstance(term, Term):
            return term.chance(*args, **kwargs)
        raise _UnsaidError
    make = _TERMS.get(str(_named(node.func, space, modules)))
    if make is None:
        raise _UnsaidError
    made: Term | Terms = make(*args, **kwargs)
    return made


def type_of(expr: ast.expr, space: Space, modules: Modules) -> str | None:
    """The type that an expression says, or None when that is not known. Equal types have equal texts.

    A class is written with its bare name: one and the same may be imported in many ways.
    """
    members = _union(expr, space, modules, 0)
    if members is None:
        return None
    return " | ".join((*sorted(members - {"None"}), *sorted(members & {"None"})))


def _union(expr: ast.expr, space: Space, modules: Modules, depth: int) -> set[str] | None:
    if isinstance(expr, ast.Constant) and expr.value is None:
        return {"None"}
    if isinstance(expr, ast.BinOp) and isinstance(expr.op, ast.BitOr):
        return _together([expr.left, expr.right], space, modules, depth)
    if isinstance(expr, ast.Subscript):
        return _generic(expr, space, modules, depth)
    found: list[set[str] | None] = []
    for value in modules.values(expr, space):
        if isinstance(value, Named) and not value.text.endswith("()"):
            found.append({value.text.rpartition(".")[2]})
        elif isinstance(value, Space):
            found.append({value.where.rpartition(".")[2]})
        elif isinstance(value, Given) and value.node is not expr and depth < _MAX_DEPTH:
            found.append(_union(value.node, value.space, modules, depth + 1))
        else:
            found.append(None)
    return found[0] if found and all(each == found[0] for each in found) else None


def _together(
    exprs: Iterable[ast.expr], space: Space, modules: Modules, depth: int, *more: str
) -> set[str] | None:
    members = set(more)
    for each in exprs:
        part = _union(each, space, modules, depth + 1) if depth < _MAX_DEPTH else None
        if part is None:
            return None
        members |= part
    return members


def _generic(expr: ast.Subscript, space: Space, modules: Modules, depth: int) -> set[str] | None:
    head = (_named(expr.value, space, modules) or "").rpartition(".")[2]
    args = expr.slice.elts if isinstance(expr.slice, ast.Tuple) else [expr.slice]
    if head == "Optional":
        return _together(args, space, modules, depth, "None")
    if head == "Union":
        return _together(args, space, modules, depth)
    texts = []
    for each in args:
        members = {"..."} if isinstance(each, ast.Constant) and each.value is ... else None
        members = members or _together([each], space, modules, depth)
        if not head or members is None:
            return None
        texts.append(" | ".join((*sorted(members - {"None"}), *sorted(members & {"None"}))))
    return {f"{head}[{', '.join(texts)}]"}


def built_in_type(text: str) -> tuple[Any] | None:
    """The type that such a text says, in a tuple, if it is made of plain built-in ones; else None."""
    union: Any = None
    for part in _parts(text):
        kind = _BUILT_IN.get(part.partition("[")[0])
        if kind is None:
            return None
        union = kind if union is None else union | kind
    return (None if union is _NONE else union,)


_NONE = type(None)
_BUILT_IN: dict[str, Any] = {kind.__name__: kind for kind in (str, int, float, bool, bytes, list, dict)}
_BUILT_IN["None"] = _NONE


def _parts(text: str) -> list[str]:
    """The members of a union, but not of what stands in brackets in it."""
    parts, depth = [""], 0
    for piece in text.split(" | "):
        if depth == 0 and parts[-1]:
            parts.append("")
        parts[-1] += piece
        depth += piece.count("[") - piece.count("]")
    return parts
