"""The values of expressions, as far as the source of the files that were read tells them."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from failpy._spaces import Binding, Given, Member, Module, Named, Parameter, Space

__all__ = ["SCOPE", "Modules", "Text", "Value"]

SCOPE = Named("failpy.scope()")
"""An open scope, or one about to be."""

_SCOPES = {"failpy.scope", "failpy.current_scope"}
_ENTERING = {"enter_context", "enter_async_context"}
_FIXTURE = "failpoints"
# A constant made of constants may double with each line.
_MAX_TEXT = 10_000


class Text(NamedTuple):
    """A string.

    Attributes:
        parts: What it is made of; None is a part that source does not say.
    """

    parts: tuple[str | None, ...]

    @property
    def constant(self) -> str | None:
        """The string, if source says all of it."""
        return None if None in self.parts else self.pattern

    @property
    def pattern(self) -> str:
        """The string, with `*` for the parts that source does not say."""
        return "".join("*" if part is None else part for part in self.parts)


Value = Text | Named | Given | Space | None
"""What an expression may be. None is what source does not say."""

_UNSAID = Text((None,))


class Modules:
    """The modules that were read, and what their names stand for in each other."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._by_name: defaultdict[str, list[tuple[tuple[str, ...], int, Module]]] = defaultdict(list)
        for module in modules:
            path = module.location
            parts = path.parent.parts if path.stem == "__init__" else (*path.parent.parts, path.stem)
            self._by_name[parts[-1]].append((parts, _depth(path), module))
        self._known: dict[tuple[Space, str], tuple[Value, ...]] = {}

    def text(self, expr: ast.expr, space: Space) -> Text:
        """What is known of an expression that should be a string."""
        values = self.values(expr, space)
        return values[0] if len(values) == 1 and isinstance(values[0], Text) else _UNSAID

    def values(self, expr: ast.expr, space: Space) -> tuple[Value, ...]:
        """What an expression may be: one value, or more where source binds a name more than once."""
        return tuple(dict.fromkeys(self._values(expr, space)))

    def _values(self, expr: ast.expr, space: Space) -> Iterator[Value]:
        if isinstance(expr, ast.Name):
            yield from self._lookup(expr.id, space)
        elif isinstance(expr, ast.Attribute):
            for owner in self.values(expr.value, space):
                yield from self._attribute(owner, expr.attr)
        elif isinstance(expr, ast.Call):
            yield from self._call(expr, space)
        elif isinstance(expr, ast.Await | ast.NamedExpr):
            yield from self._values(expr.value, space)
        elif isinstance(expr, ast.IfExp | ast.BoolOp):
            for each in _outcomes(expr):
                yield from self._values(each, space)
        else:
            yield self._string(expr, space) or Given(expr, space)

    def _lookup(self, name: str, space: Space) -> tuple[Value, ...]:
        for each in space.around():
            if name in each.bound:
                return self._bound(name, each)
        for each in () if hasattr(builtins, name) else space.around():
            for module in each.stars:
                values = self._exported(module, name)
                if values:
                    return values
        return (Named(name),)

    def _bound(self, name: str, space: Space) -> tuple[Value, ...]:
        key = space, name
        if key not in self._known:
            self._known[key] = ()  # which is what a name adds to its own definition
            values = [value for each in space.bound[name] for value in self._of(each)]
            self._known[key] = tuple(dict.fromkeys(values))
        return self._known[key]

    def _of(self, binding: Binding) -> tuple[Value, ...]:
        if isinstance(binding, Given):
            return self.values(*binding)
        if isinstance(binding, Member):
            return self._member(*binding)
        if isinstance(binding, Parameter):
            given = binding.annotation
            is_scope = given is not None and Named("failpy.Scope") in self.values(*given)
            return (SCOPE if is_scope or binding.name == _FIXTURE else None,)
        return (binding,)

    def _member(self, module: Named, name: str) -> tuple[Value, ...]:
        return self._exported(module, name) or (Named(f"{module.text}.{name}".lstrip("."), module.base),)

    def _exported(self, module: Named, name: str) -> tuple[Value, ...]:
        """What a module has under a name, as far as it was read."""
        if module.text == "failpy":
            return (module if name == "fail" else Named(f"failpy.{name}"),)
        found = [value for each in self._find(module) for value in self._in_module(each, name)]
        return tuple(dict.fromkeys(found))

    def _in_module(self, module: Module, name: str) -> tuple[Value, ...]:
        space = module.space
        if name in space.bound:
            return self._bound(name, space)
        if (space, name) not in self._known:
            self._known[space, name] = ()  # two modules may import every name of each other
            found = [value for star in space.stars for value in self._exported(star, name)]
            self._known[space, name] = tuple(dict.fromkeys(found))
        return self._known[space, name]

    def _find(self, module: Named) -> list[Module]:
        """The files that may be this module: for an absolute name, by the end of their path."""
        parts = tuple(filter(None, module.text.split(".")))
        if module.base:
            whole = (*Path(module.base).parts, *parts)
            return [each for found, _, each in self._by_name.get(whole[-1], ()) if found == whole]
        return [
            each
            for found, depth, each in self._by_name.get(parts[-1], ())
            if found[-len(parts) :] == parts and len(parts) >= depth
        ]

    def _attribute(self, owner: Value, name: str) -> tuple[Value, ...]:
        if isinstance(owner, Named):
            return self._member(owner, name)
        if isinstance(owner, Space) and name in owner.bound:
            return self._bound(name, owner)
        if isinstance(owner, Text) and name == "value":  # no string has one, so it is a member of an enum
            return (owner,)
        return (None,)

    def _call(self, expr: ast.Call, space: Space) -> tuple[Value, ...]:
        if isinstance(expr.func, ast.Attribute) and expr.func.attr in _ENTERING and expr.args:
            return self.values(expr.args[0], space)
        for value in self.values(expr.func, space):
            if isinstance(value, Named) and value.text in _SCOPES:
                return (SCOPE,)
        return (Given(expr, space),)

    def _string(self, expr: ast.expr, space: Space) -> Text | None:
        if isinstance(expr, ast.Constant) and isinstance(expr.value, str):
            return Text((expr.value,))
        if isinstance(expr, ast.JoinedStr):
            return _joined(self._formatted(each, space) for each in expr.values)
        if isinstance(expr, ast.BinOp) and isinstance(expr.op, ast.Add):
            return self._sum(expr, space)
        return None

    def _sum(self, expr: ast.BinOp, space: Space) -> Text | None:
        operands = []
        node: ast.expr = expr
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            operands.append(node.right)
            node = node.left
        texts = [self.text(each, space) for each in (node, *reversed(operands))]
        return None if all(each == _UNSAID for each in texts) else _joined(texts)

    def _formatted(self, expr: ast.expr, space: Space) -> Text:
        if not isinstance(expr, ast.FormattedValue):
            return self.text(expr, space)
        if expr.conversion != -1 or expr.format_spec is not None:
            return _UNSAID
        value = expr.value
        if isinstance(value, ast.Constant) and type(value.value) is int:
            return Text((str(value.value),))
        return self.text(value, space)


def _outcomes(expr: ast.IfExp | ast.BoolOp) -> list[ast.expr]:
    """Which of its parts such an expression may come to."""
    if isinstance(expr, ast.IfExp):
        return [expr.body, expr.orelse]
    # `and` comes to an earlier part only where that is false, and then it names and arms nothing.
    return expr.values[-1:] if isinstance(expr.op, ast.And) else expr.values


def _joined(texts: Iterable[Text]) -> Text:
    parts: list[str | None] = []
    for each in texts:
        for part in each.parts:
            if parts and parts[-1] is None and part is None:
                continue
            parts.append(part)
    whole = Text(tuple(parts))
    return whole if len(whole.pattern) <= _MAX_TEXT else _UNSAID


def _depth(path: Path) -> int:
    """How many parts the name of a module has at the least: those of the packages around it, too."""
    folder, depth = path.parent, 1
    if path.stem == "__init__":
        folder = folder.parent
    while (folder / "__init__.py").is_file():
        folder, depth = folder.parent, depth + 1
    return depth
