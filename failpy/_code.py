"""The Python code of one module, and what it says about failpoints."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from failpy._folding import Modules, Text
from failpy._mentions import VARIABLE, Declaration, Fault, Malformed, Place, Use, entries
from failpy._objects import terms_of, type_of
from failpy._spaces import Given, Module, Named, Space

__all__ = ["Mention", "mentions"]

Mention = Declaration | Use | Malformed

_SETTERS = {"setenv", "putenv", "setdefault", "setitem"}


def mentions(module: Module, modules: Modules) -> list[Mention]:
    """What a module says, each thing once."""
    reader = _Reader(module, modules)
    return list(dict.fromkeys(each for node in module.nodes for each in reader.read(*node)))


class _Reader:
    def __init__(self, module: Module, modules: Modules) -> None:
        self._module = module
        self._modules = modules

    def read(self, node: ast.Call | ast.Dict | ast.Assign, space: Space, where: str) -> Iterator[Mention]:
        if isinstance(node, ast.Call):
            for value in self._modules.values(node.func, space):
                if isinstance(value, Named) and value.text in _CALLS:
                    kind, read = _CALLS[value.text]
                    yield from read(self, node, space, where, kind)
                    break
            yield from self._arguments(node, space)
        elif isinstance(node, ast.Dict):
            for key, each in zip(node.keys, node.values, strict=True):
                yield from self._variable(key, each, space)
        else:
            for target in node.targets:
                if isinstance(target, ast.Subscript):
                    yield from self._variable(target.slice, node.value, space)

    # --- declarations ---

    def declaration(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Declaration]:
        name = _argument(call, 0, "name")
        if name is not None:
            yield self._declaration(call, space, where, kind, self._modules.text(name, space))

    def attachment(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Declaration]:
        name = _argument(call, 1, "name")
        if name is None or (isinstance(name, ast.Constant) and name.value is None):
            name = _argument(call, 0, "target")
        if name is not None:
            yield self._declaration(call, space, where, kind, self._modules.text(name, space))

    def _declaration(self, call: ast.Call, space: Space, where: str, kind: str, name: Text) -> Declaration:
        returns, claims = self._returns(call, space, kind)
        return Declaration(
            name.constant,
            self._module.place(call),
            kind,
            where,
            returns,
            claims,
            self._faults(call, space),
            name.pattern,
        )

    def _returns(self, call: ast.Call, space: Space, kind: str) -> tuple[str | None, bool]:
        given = next((each.value for each in call.keywords if each.arg == "returns"), None)
        if given is None:
            unknown = any(each.arg is None for each in call.keywords)
            return None, kind != "point" and not unknown
        text = type_of(given, space, self._modules)
        if text is None:
            return ast.unparse(given), False
        return text, kind != "point" or text != "None"

    def _faults(self, call: ast.Call, space: Space) -> tuple[Fault, ...]:
        given = next((each.value for each in call.keywords if each.arg == "faults"), None)
        values = () if given is None else self._modules.values(given, space)
        if len(values) != 1 or not isinstance(values[0], Given):
            return ()
        node, home = values[0]
        if not isinstance(node, ast.Tuple | ast.List | ast.Set):
            return ()
        faults = []
        for each in node.elts:
            text, typed = terms_of(each, home, self._modules)
            if text is None:
                text, typed = ast.unparse(each), True
            faults.append(Fault(text, typed, home.module.place(each)))
        return tuple(faults)

    # --- uses ---

    def enabling(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Use]:
        name, terms = _argument(call, 0, "name"), _argument(call, 1, "terms")
        if name is not None:
            yield self._use(name, terms, space, kind)

    def steering(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Use]:
        name = _argument(call, 0, "name")
        if name is not None:
            yield self._use(name, None, space, kind)

    def ordering(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Use]:
        for each in call.args:
            names = [(each, space)]
            if isinstance(each, ast.Starred):
                for value in self._modules.values(each.value, space):
                    if isinstance(value, Given) and isinstance(value.node, ast.Tuple | ast.List):
                        names = [(name, value.space) for name in value.node.elts]
            for name, home in names:
                yield self._use(name, None, home, kind)

    def arming(self, call: ast.Call, space: Space, where: str, kind: str) -> Iterator[Mention]:
        terms = _argument(call, 0, "terms", star=False)
        if terms is not None:
            yield from self._set(terms, space, kind, set())

    def _use(self, name: ast.expr, terms: ast.expr | None, space: Space, kind: str) -> Use:
        known = self._modules.text(name, space)
        text, typed = (None, False) if terms is None else terms_of(terms, space, self._modules)
        return Use(known.constant, text, space.module.place(name), kind, typed, known.pattern)

    def _set(self, expr: ast.expr, space: Space, kind: str, seen: set[ast.expr]) -> Iterator[Mention]:
        """What a mapping or a text arms."""
        for value in self._modules.values(expr, space):
            if isinstance(value, Text) and value.constant is not None:
                yield from entries(value.constant, space.module.place(expr), kind)
            elif isinstance(value, Given):
                if value.node not in seen:  # a mapping may be made of itself
                    seen.add(value.node)
                    yield from self._mapping(value.node, value.space, kind, seen)
            else:
                yield self._unsaid(expr, space, kind)

    def _mapping(self, node: ast.expr, space: Space, kind: str, seen: set[ast.expr]) -> Iterator[Mention]:
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None:
                    yield from self._set(value, space, kind, seen)
                else:
                    yield self._use(key, value, space, kind)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from self._set(node.left, space, kind, seen)
            yield from self._set(node.right, space, kind, seen)
        elif isinstance(node, ast.Call) and Named("dict") in self._modules.values(node.func, space):
            yield from self._made(node, space, kind, seen)
        elif isinstance(node, ast.List | ast.Tuple) and all(map(_is_pair, node.elts)):
            for each in node.elts:
                assert isinstance(each, ast.Tuple)
                yield self._use(each.elts[0], each.elts[1], space, kind)
        elif not (isinstance(node, ast.Constant) and node.value is None):
            yield self._unsaid(node, space, kind)

    def _made(self, call: ast.Call, space: Space, kind: str, seen: set[ast.expr]) -> Iterator[Mention]:
        for each in call.args:
            yield from self._set(each, space, kind, seen)
        for keyword in call.keywords:
            if keyword.arg is None:
                yield from self._set(keyword.value, space, kind, seen)
            else:
                text, typed = terms_of(keyword.value, space, self._modules)
                place = space.module.place(keyword)
                yield Use(keyword.arg, text, place, kind, typed, keyword.arg)

    def _unsaid(self, node: ast.expr, space: Space, kind: str) -> Use:
        return Use(None, None, space.module.place(node), kind, typed=False, pattern="*")

    # --- the environment variable ---

    def _arguments(self, call: ast.Call, space: Space) -> Iterator[Mention]:
        for keyword in call.keywords:
            if keyword.arg == VARIABLE:
                yield from self._environ(keyword.value, space)
        if isinstance(call.func, ast.Attribute) and call.func.attr in _SETTERS:
            for key, value in zip(call.args, call.args[1:], strict=False):
                yield from self._variable(key, value, space)

    def _variable(self, key: ast.expr | None, value: ast.expr, space: Space) -> Iterator[Mention]:
        if key is not None and self._modules.text(key, space).constant == VARIABLE:
            yield from self._environ(value, space)

    def _environ(self, expr: ast.expr, space: Space) -> Iterator[Mention]:
        for value in self._modules.values(expr, space):
            place: Place = space.module.place(expr)
            if isinstance(value, Text) and value.constant is not None:
                yield from entries(value.constant, place, "environ")
            else:
                yield self._unsaid(expr, space, "environ")


_Read = Callable[[_Reader, ast.Call, Space, str, str], Iterator[Mention]]

_CALLS: dict[str, tuple[str, _Read]] = {
    "failpy.failpoint": ("decorator", _Reader.declaration),
    "failpy.point": ("point", _Reader.declaration),
    "failpy.attach": ("attach", _Reader.attachment),
    "failpy.scope": ("scope", _Reader.arming),
    "failpy.enable_all": ("enable_all", _Reader.arming),
    "pytest.mark.failpoints": ("marker", _Reader.arming),
    "failpy.scope().order": ("order", _Reader.ordering),
    "failpy.scope().await_for_hit": ("wait_for_hit", _Reader.steering),
    "failpy.scope().wait_for_hit": ("wait_for_hit", _Reader.steering),
    **{f"failpy.{at}enable": ("enable", _Reader.enabling) for at in ("", "scope().")},
    **{f"failpy.{at}disable": ("disable", _Reader.steering) for at in ("", "scope().")},
    **{f"failpy.{at}status": ("status", _Reader.steering) for at in ("", "scope().")},
}


def _argument(call: ast.Call, index: int, name: str, *, star: bool = True) -> ast.expr | None:
    """An argument of a call; what is unpacked there, if it may be in that."""
    for i, each in enumerate(call.args):
        if i == index or isinstance(each, ast.Starred):
            return each
    keywords = {each.arg: each.value for each in call.keywords}
    unpacked = keywords.get(None)
    # Starred, since what is unpacked is a mapping of arguments, and not the argument.
    return keywords.get(name) or (
        ast.copy_location(ast.Starred(unpacked), unpacked) if star and unpacked else None
    )


def _is_pair(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple) and len(node.elts) == 2
