"""Attachments: failpoints on callables that one does not own."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from types import FunctionType, MethodType, ModuleType, TracebackType
from typing import Any, Self, cast

from failpy._config import config
from failpy._decorator import stand_on
from failpy._errors import FailpointError, did_you_mean
from failpy._names import check_name
from failpy._patch import patch_of
from failpy._point import Fault, Point, catalogue, declare_point, point
from failpy._registry import declared, lock
from failpy._returns import accepted
from failpy._site import Site, body_site
from failpy._terms import Terms

__all__ = ["Attachment", "attach"]


class Attachment:
    """A failpoint that stands on a callable until it is detached. Made by `failpy.attach`.

    As a context manager it detaches when the block ends.

    Attributes:
        name: The name of the failpoint.
        target: What it stands on, as `module:name`.
    """

    __slots__ = (
        "__weakref__",
        "_detached",
        "_faults",
        "_returns",
        "_site",
        "_undo",
        "_waits",
        "name",
        "target",
    )

    def __init__(
        self, name: str, target: str, returns: object, faults: tuple[Terms, ...], site: Site
    ) -> None:
        self.name = name
        self.target = target
        self._returns = returns
        self._faults = faults
        self._site = site
        self._detached = False
        self._undo: Callable[[], None] | None = None
        self._waits: Callable[[], None] | None = None

    def __repr__(self) -> str:
        state = "detached" if self._detached else "attached" if self._undo else "not imported yet"
        return f"<Attachment {self.name!r} to {self.target}: {state}>"

    @property
    def point(self) -> Point[Any]:
        """The failpoint."""
        found: Any = declared(self.name)
        return point(self.name) if found is None else cast("Point[Any]", found)

    @property
    def attached(self) -> bool:
        """Whether it stands now: not before its module is imported, and not after `detach`."""
        return self._undo is not None

    def detach(self) -> None:
        """Take the failpoint away: the callable is what it was. Twice is no error."""
        with lock:
            self._detached = True
            self._wait_no_more()
            undo, self._undo = self._undo, None
            if undo is not None:
                undo()

    def _wait_no_more(self) -> None:
        waits, self._waits = self._waits, None
        if waits is not None:
            waits()

    def __enter__(self) -> Self:
        if self._detached:
            raise FailpointError(
                f"{self!r} has been detached, and stays so: attach it again with fail.attach"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.detach()

    # --- how it comes to stand ---

    def _wait_for(self, module: str, path: str) -> None:
        """Be declared at once, and stand as soon as the module has been imported."""
        from failpy._proxy import when_imported

        standing = declare_point(self.name, self._returns, self._faults, self._site, claims=True)
        self._waits = partial(standing.leave, self._site)
        when_imported(module, partial(self._find, path))

    def _find(self, path: str, module: ModuleType) -> None:
        """Stand on what the module has at this path, unless it was detached while that was not there."""
        with lock:
            if self._detached:
                return
            self._wait_no_more()
            owner: Any = module
            *parents, last = path.split(".")
            for parent in parents:
                owner = _part(owner, parent, self.target)
            found = _part(owner, last, self.target, static=True)
            function = _python_function(found, self)
            self._undo = self._replace(owner, last, found) if function is None else self._patch(function)

    def _patch(self, function: FunctionType) -> Callable[[], None]:
        """Stand on a Python function, in place."""
        if patch_of(function).has(self.name):
            raise FailpointError(
                f"failpoint {self.name!r} stands on {self.target} already: give this one another name"
            )
        site = Site(function.__code__.co_filename, function.__code__.co_firstlineno, function.__qualname__)
        standing, patch = stand_on(function, self.name, self._returns, self._faults, site)

        def undo() -> None:
            standing.drop_switch(id(patch))
            patch.leave(self.name, standing.drop_switch)
            standing.leave(site)

        return undo

    def _replace(self, owner: Any, attribute: str, target: Any) -> Callable[[], None]:
        """Put a proxy in the place of a callable that is no Python function."""
        from failpy._proxy import proxy  # wrapt takes longer to import than failpy

        had = attribute in vars(owner)
        standing = declare_point(self.name, self._returns, self._faults, self._site, claims=True)
        kind = type(target) if isinstance(target, classmethod | staticmethod) else None
        inner: Any = target if kind is None else target.__func__
        instead, switch = proxy(inner, self.name, partial(_unpickled, self.target))
        placed: Any = instead if kind is None else kind(instead)
        try:
            setattr(owner, attribute, placed)
        except (AttributeError, TypeError) as exc:
            standing.leave(self._site)
            raise FailpointError(
                f"failpoint {self.name!r} cannot stand on {self.target}: {exc}; attach it to what calls that"
            ) from None
        standing.stand_at(self._site)
        standing.add_switch(switch)
        weakref.finalize(instead, standing.drop_switch, id(switch)).atexit = False

        def undo() -> None:
            standing.drop_switch(id(switch))
            switch.switch(self.name, False)
            standing.leave(self._site)
            if vars(owner).get(attribute) is placed:  # else somebody has put something around it
                if had:
                    setattr(owner, attribute, target)
                else:
                    delattr(owner, attribute)

        return undo


def _unpickled(target: str, wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """What an attached callable without a name of its own is unpickled as: itself."""
    del target
    return wrapped


def attach(
    target: str | Callable[..., Any],
    name: str | None = None,
    *,
    returns: Any = None,
    faults: Iterable[Fault] = (),
) -> Attachment:
    """A failpoint on a callable of somebody else's, without a line changed there.

    A Python function is patched in place, so that who imported it before meets the failpoint too. What
    is written in C is replaced where the target says: what has imported it by name before keeps the
    original. A module that is not imported yet is waited for.

    Args:
        target: `"module:name"` or `"module:Class.method"`, or a Python function itself.
        name: The name of the failpoint; the target unless given.
        returns: As for `failpoint`.
        faults: As for `failpoint`.

    Returns:
        What detaches it again, with `.detach()` or at the end of a `with` block.

    Raises:
        FailpointError: when there is no such module or name, or no failpoint can stand on what is there.
        FailpointConflict: when another site of the name declares another type.
        TypeError: when the target is neither text nor a Python function.

    Examples:
        >>> import shutil
        >>> from failpy import fail
        >>> with fail.attach("shutil:disk_usage"):
        ...     with fail.scope({"shutil:disk_usage": "raise(EIO)"}):
        ...         shutil.disk_usage("/")
        Traceback (most recent call last):
        OSError: [Errno 5] Input/output error
        injected by failpoint 'shutil:disk_usage': hit 1, raise(EIO)
    """
    accepted(returns)
    chains = catalogue(faults)
    site = body_site(sys._getframe().f_back)
    if isinstance(target, str):
        return _attach_text(target, name, returns, chains, site)
    function = target.__func__ if isinstance(target, MethodType) else target
    if type(function) is not FunctionType:
        raise TypeError(
            f"attach takes a Python function, or text such as 'os:replace' that says where a callable is "
            f"found, not {target!r}"
        )
    text = f"{function.__module__}:{function.__qualname__}"
    attachment = Attachment(check_name(text if name is None else name), text, returns, chains, site)
    if config.enabled:
        with lock:
            attachment._undo = attachment._patch(function)
    return attachment


def _attach_text(
    target: str, name: str | None, returns: object, faults: tuple[Terms, ...], site: Site
) -> Attachment:
    module, colon, path = target.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise FailpointError(
            f"{target!r} does not say where a callable is: write 'module:name', such as 'os:replace' or "
            "'requests.sessions:Session.send'"
        )
    attachment = Attachment(check_name(target if name is None else name), target, returns, faults, site)
    if not config.enabled:
        return attachment
    loaded = sys.modules.get(module)
    if loaded is not None:
        attachment._find(path, loaded)
        return attachment
    _check_findable(module, target)
    attachment._wait_for(module, path)
    return attachment


def _check_findable(module: str, target: str) -> None:
    from importlib.util import find_spec

    root = module.partition(".")[0]
    if root not in sys.modules and find_spec(root) is None:
        raise FailpointError(
            f"cannot attach to {target!r}: there is no module {root!r}; install it, or mend the name"
        )


def _part(owner: Any, name: str, target: str, *, static: bool = False) -> Any:
    """What the owner has under this name; for the last one, before any descriptor makes something of it."""
    from inspect import getattr_static

    try:
        return getattr_static(owner, name) if static else getattr(owner, name)
    except AttributeError:
        where = getattr(owner, "__qualname__", None) or getattr(owner, "__name__", repr(owner))
        hint = did_you_mean(name, [each for each in dir(owner) if not each.startswith("__")])
        raise FailpointError(f"cannot attach to {target!r}: {where} has no {name!r}{hint}") from None


def _python_function(found: Any, attachment: Attachment) -> FunctionType | None:
    """The Python function to patch; None when there is another callable to replace.

    Raises:
        FailpointError: when it is nothing that can be called.
    """
    inner = found
    if isinstance(found, classmethod | staticmethod):
        inner = found.__func__
    elif isinstance(found, property):
        if found.fset is not None or found.fdel is not None or found.fget is None:
            raise FailpointError(
                f"failpoint {attachment.name!r} cannot tell the getter of {attachment.target} from its "
                "setter: attach it to what the getter calls"
            )
        inner = found.fget
    elif isinstance(found, cached_property):
        inner = found.func
    if type(inner) is FunctionType:
        return inner
    if isinstance(inner, type) or not callable(inner) or isinstance(found, property | cached_property):
        what = "a class" if isinstance(inner, type) else "nothing that a failpoint can stand on"
        raise FailpointError(
            f"failpoint {attachment.name!r} cannot stand on {attachment.target}, which is {what}: "
            "attach it to a function or a method, a class's __init__ say"
        )
    return None
