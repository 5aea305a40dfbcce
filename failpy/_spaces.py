"""The names of a Python module, as its source binds them: one space for each of its lexical scopes."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from failpy._mentions import Place

__all__ = ["Binding", "Given", "Member", "Module", "Named", "Parameter", "Space"]


class Named(NamedTuple):
    """What is known by its dotted name only: a module, or something in it.

    Attributes:
        text: The dotted name.
        base: The folder that a relative import starts from; empty for an absolute one.
    """

    text: str
    base: str = ""


class Member(NamedTuple):
    """What `from module import name` binds."""

    module: Named
    name: str


class Given(NamedTuple):
    """An expression, and the space in which it is evaluated."""

    node: ast.expr
    space: Space


class Parameter(NamedTuple):
    """A parameter of a function, and its annotation."""

    name: str
    annotation: Given | None


class Space:
    """One lexical scope.

    Attributes:
        module: The module that it is part of.
        parent: The space around it.
        kind: `module`, `class` or `function`.
        where: Its qualified name.
        bound: What is bound to each name in it, once for each place that does; None is what is not known.
        stars: The modules of which it imports every name.
    """

    __slots__ = ("_elsewhere", "_home", "bound", "kind", "module", "parent", "stars", "where")

    def __init__(self, module: Module, parent: Space | None, kind: str, where: str) -> None:
        self.module = module
        self.parent = parent
        self.kind = kind
        self.where = where
        self.bound: dict[str, list[Binding]] = {}
        self.stars: list[Named] = []
        self._elsewhere: dict[str, Space] = {}
        self._home = self

    def inside(self, name: str, kind: str) -> Space:
        """A new space for a function or a class of this name."""
        dot = {"module": "", "class": f"{self.where}.", "function": f"{self.where}.<locals>."}[self.kind]
        return Space(self.module, self, kind, f"{dot}{name}")

    def comprehension(self) -> Space:
        """A new space for a comprehension, in which `:=` binds outside."""
        inner = Space(self.module, self, "function", self.where)
        inner._home = self._home
        return inner

    def bind(self, name: str, binding: Binding, *, home: bool = False) -> None:
        """Bind a name here, or where a `global` or `nonlocal` says."""
        space = self._home if home else self
        space = space._elsewhere.get(name, space)
        space.bound.setdefault(name, []).append(binding)

    def bind_outside(self, name: str, *, nonlocal_: bool) -> None:
        """Let a name be bound in the module, or in the function around this one."""
        space = self.parent
        while space is not None and space.parent is not None and not (nonlocal_ and space.kind == "function"):
            space = space.parent
        if space is not None:
            self._elsewhere[name] = space

    def around(self) -> Iterator[Space]:
        """The spaces in which a name that is used here is looked up."""
        yield self
        space = self.parent
        while space is not None:
            if space.kind != "class":
                yield space
            space = space.parent


Binding = Named | Member | Given | Parameter | Space | None
Task = tuple[ast.AST, Space, str]


class Module:
    """A Python file that was read.

    Attributes:
        file: Its path, for messages.
        location: Its absolute path.
        space: What its source binds.
        nodes: The calls, dicts and assignments in it: the node, the space, and the qualified name.
    """

    def __init__(self, file: str, location: Path, text: str, tree: ast.Module) -> None:
        self.file = file
        self.location = location
        self.space = Space(self, None, "module", "<module>")
        self.nodes: list[tuple[ast.Call | ast.Dict | ast.Assign, Space, str]] = []
        self._lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._read(tree)

    def place(self, node: ast.expr | ast.keyword) -> Place:
        """Where a node stands. The parser counts columns in bytes, and people in characters."""
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        before = line.encode("utf-8", "surrogatepass")[: node.col_offset]
        return Place(self.file, node.lineno, len(before.decode("utf-8", "replace")) + 1)

    def _read(self, tree: ast.Module) -> None:
        # Not recursive: an expression may be nested deeper than Python's stack.
        todo: list[Task] = [(tree, self.space, "<module>")]
        while todo:
            node, space, where = todo.pop()
            if isinstance(node, ast.Call | ast.Dict | ast.Assign):
                self.nodes.append((node, space, where))
            visit = _VISITS.get(type(node))
            children = visit(node, space, where) if visit else _each(ast.iter_child_nodes(node), space, where)
            todo.extend(reversed(children))

    def package(self, level: int) -> str:
        """The folder that so many dots in an import stand for."""
        parents = self.location.parents
        return str(parents[min(level, len(parents)) - 1])


def _each(nodes: Any, space: Space, where: str) -> list[Task]:
    return [(node, space, where) for node in nodes if node is not None]


def _function(node: Any, space: Space, where: str) -> list[Task]:
    name = getattr(node, "name", "<lambda>")
    inner = space.inside(name, "function")
    if not isinstance(node, ast.Lambda):
        space.bind(name, None)
    args = node.args
    for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if each is not None:
            inner.bind(each.arg, Parameter(each.arg, each.annotation and Given(each.annotation, space)))
    return [
        *_each(getattr(node, "decorator_list", ()), space, inner.where),
        *_each((*args.defaults, *args.kw_defaults), space, where),
        *_each([node.body] if isinstance(node, ast.Lambda) else node.body, inner, inner.where),
    ]


def _class(node: Any, space: Space, where: str) -> list[Task]:
    inner = space.inside(node.name, "class")
    space.bind(node.name, inner)
    return [
        *_each(node.decorator_list, space, inner.where),
        *_each((*node.bases, *node.keywords), space, where),
        *_each(node.body, inner, inner.where),
    ]


def _comprehension(node: Any, space: Space, where: str) -> list[Task]:
    return _each(ast.iter_child_nodes(node), space.comprehension(), where)


def _assign(node: Any, space: Space, where: str) -> list[Task]:
    others = [node.value]
    for target in node.targets:
        others += _bind(target, node.value, space)
    return _each(others, space, where)


def _bind(target: ast.expr, value: ast.expr, space: Space) -> list[ast.expr]:
    """Bind what is assigned one to one, and give what else there is to visit."""
    if isinstance(target, ast.Name):
        space.bind(target.id, Given(value, space))
        return []
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
        return [target]
    if len(target.elts) != len(value.elts) or any(
        isinstance(each, ast.Starred) for each in (*target.elts, *value.elts)
    ):
        return [target]
    others = []
    for each, given in zip(target.elts, value.elts, strict=True):
        others += _bind(each, given, space)
    return others


def _annotated(node: Any, space: Space, where: str) -> list[Task]:
    if node.value is None:
        return []
    return _each([node.value, *_bind(node.target, node.value, space)], space, where)


def _walrus(node: Any, space: Space, where: str) -> list[Task]:
    space.bind(node.target.id, Given(node.value, space), home=True)
    return [(node.value, space, where)]


def _entered(node: Any, space: Space, where: str) -> list[Task]:
    target = node.optional_vars
    if isinstance(target, ast.Name):  # what a scope gives when it is entered is itself
        space.bind(target.id, Given(node.context_expr, space))
        target = None
    return _each((node.context_expr, target), space, where)


def _name(node: Any, space: Space, where: str) -> list[Task]:
    if not isinstance(node.ctx, ast.Load):
        space.bind(node.id, None)
    return []


def _captured(node: Any, space: Space, where: str) -> list[Task]:
    name = node.rest if isinstance(node, ast.MatchMapping) else node.name
    if name is not None:
        space.bind(name, None)
    return _each(ast.iter_child_nodes(node), space, where)


def _global(node: Any, space: Space, where: str) -> list[Task]:
    for name in node.names:
        space.bind_outside(name, nonlocal_=isinstance(node, ast.Nonlocal))
    return []


def _import(node: Any, space: Space, where: str) -> list[Task]:
    for alias in node.names:
        whole = Named(alias.name)
        space.bind(
            alias.asname or alias.name.partition(".")[0],
            whole if alias.asname else Named(whole.text.partition(".")[0]),
        )
    return []


def _import_from(node: Any, space: Space, where: str) -> list[Task]:
    module = Named(node.module or "", space.module.package(node.level) if node.level else "")
    for alias in node.names:
        if alias.name == "*":
            space.stars.append(module)
        else:
            space.bind(alias.asname or alias.name, Member(module, alias.name))
    return []


_VISITS: dict[type[ast.AST], Callable[[Any, Space, str], list[Task]]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _function,
    ast.ClassDef: _class,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.NamedExpr: _walrus,
    ast.withitem: _entered,
    ast.Name: _name,
    ast.ExceptHandler: _captured,
    ast.MatchAs: _captured,
    ast.MatchStar: _captured,
    ast.MatchMapping: _captured,
    ast.Global: _global,
    ast.Nonlocal: _global,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
}
