"""The terms that divert execution: return, raise, panic and call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

from failpy._chain import Term
from failpy._errors import Injected
from failpy._literals import fresh_copy, literal_text, shown
from failpy._specs import CallSpec, ExceptionSpec, build
from failpy._texts import (
    callable_expression,
    callable_text,
    exception_expression,
    exception_text,
)

__all__ = ["Call", "Panic", "Raise", "Return", "message"]

_BARE: Any = object()


@final
class Return(Term):
    """Return a value in place of the code behind the point. Text: `return("x")`.

    Args:
        value: The value. Left out, it is a bare `return`: the value None, and `bare` is true.

    Examples:
        >>> str(3 * Return("hello"))
        '3*return("hello")'
    """

    __slots__ = ("_read", "bare", "value")
    action: ClassVar[str] = "return"
    _holds: ClassVar[str] = "value"
    value: Any
    bare: bool
    _read: bool

    def __init__(self, value: object = _BARE) -> None:
        super().__init__()
        bare = value is _BARE
        self._set(value=None if bare else value, bare=bare, _read=False)

    @classmethod
    def read(cls, value: object) -> Return:
        """A `return` whose value was read from text: each hit gets a copy."""
        term = cls(value)
        term._set(_read=isinstance(value, list | dict))  # others may be shared
        return term

    def fresh(self) -> Any:
        """The value for one hit: the very object given, or a copy of one that was read from text."""
        return fresh_copy(self.value) if self._read else self.value

    def _argument(self) -> str | None:
        return "" if self.bare else literal_text(self.value)

    def _key(self) -> str | None:
        return None if isinstance(self.value, (list, dict)) else self._argument()

    def _expression(self) -> str:
        return "Return()" if self.bare else f"Return({shown(self.value, limit=None)})"


@final
class Raise(Term):
    """Raise an exception. Text: `raise`, `raise(ValueError("boom"))`, `raise(ENOSPC)`.

    Args:
        exc: A class, of which each hit raises a new instance, or an instance, which every hit raises.

    Raises:
        TypeError: when it is neither.

    Examples:
        >>> str(Raise(OSError("disk full")))
        'raise(OSError("disk full"))'
    """

    __slots__ = ("context", "exc")
    action: ClassVar[str] = "raise"
    _holds: ClassVar[str] = "exc"
    exc: type[BaseException] | BaseException | ExceptionSpec
    context: BaseException | None
    """The `__context__` that an instance had when it was given, which raising it changes."""

    def __init__(self, exc: type[BaseException] | BaseException | ExceptionSpec = Injected) -> None:
        super().__init__()
        given: object = exc
        is_class = isinstance(given, type) and issubclass(given, BaseException)
        if not is_class and not isinstance(given, (BaseException, ExceptionSpec)):
            way = (
                f"give Injected({shown(given)})"
                if type(given) is str
                else "give one such as ValueError('boom')"
            )
            raise TypeError(f"Raise takes an exception class or instance, not {shown(given)}: {way}")
        self._set(exc=exc, context=exc.__context__ if isinstance(exc, BaseException) else None)

    def make(self, importing: bool = True) -> BaseException:
        """The exception for one hit: new for a class and for text, else the instance given.

        Args:
            importing: Whether modules may be imported to find a class that text names.

        Raises:
            TermSyntaxError: when a class that text names cannot be found.
            TypeError: when the class cannot be built like that.
        """
        if isinstance(self.exc, ExceptionSpec):
            return self.exc.make(importing)
        return self.exc if isinstance(self.exc, BaseException) else build(self.exc)

    def _argument(self) -> str | None:
        text = self.exc.text if isinstance(self.exc, ExceptionSpec) else exception_text(self.exc)
        return "" if text == Injected.__name__ else text

    def _key(self) -> str | None:
        if isinstance(self.exc, ExceptionSpec):
            return self.exc.path.rpartition(".")[2]
        cls = self.exc if isinstance(self.exc, type) else type(self.exc)
        return cls.__qualname__.rpartition(".")[2]

    def _expression(self) -> str:
        if self.exc is Injected:
            return "Raise()"
        if isinstance(self.exc, ExceptionSpec):
            typed = self.exc.expression
            return f"parse({f'raise({self.exc.text})'!r})[0]" if typed is None else f"Raise({typed})"
        return f"Raise({exception_expression(self.exc)})"


@final
class Panic(Term):
    """Raise `FailpointPanic`, which `except Exception` cannot swallow. Text: `panic`, `panic("why")`.

    Args:
        msg: What it says; unless given, `failpoint panic: NAME`.

    Examples:
        >>> str(Panic("no way on"))
        'panic("no way on")'
    """

    __slots__ = ("msg",)
    action: ClassVar[str] = "panic"
    _holds: ClassVar[str] = "msg"
    msg: str | None

    def __init__(self, msg: str | None = None) -> None:
        super().__init__()
        self._set(msg=message(self, msg))

    def _argument(self) -> str | None:
        return "" if self.msg is None else literal_text(self.msg)

    def _expression(self) -> str:
        return "Panic()" if self.msg is None else f"Panic({self.msg!r})"


@final
class Call(Term):
    """Call a function with the hit; what it returns, unless None, is returned. Text: `call("pkg.mod:fn")`.

    Args:
        fn: A callable that takes the hit: its `point`, `nth`, `args`, `kwargs` and `values`.

    Raises:
        TypeError: when it cannot be called.

    Examples:
        >>> str(Call(print))
        'call("builtins:print")'
    """

    __slots__ = ("fn",)
    action: ClassVar[str] = "call"
    _holds: ClassVar[str] = "fn"
    fn: Callable[..., Any] | CallSpec

    def __init__(self, fn: Callable[..., Any] | CallSpec) -> None:
        super().__init__()
        given: object = fn
        if not callable(given) and not isinstance(given, CallSpec):
            way = "give a function that takes the hit"
            if type(given) is str:
                way = f"in text it is call({shown(given)})"
            raise TypeError(f"Call takes a callable, not {shown(given)}: {way}")
        self._set(fn=fn)

    @property
    def function(self) -> Callable[..., Any]:
        """The callable; one that text names is found when the term is enabled."""
        return self.fn.function if isinstance(self.fn, CallSpec) else self.fn

    def _argument(self) -> str | None:
        return self.fn.text if isinstance(self.fn, CallSpec) else callable_text(self.fn)

    def _key(self) -> None:
        return None

    def _expression(self) -> str:
        if isinstance(self.fn, CallSpec):
            return f"parse({f'call({self.fn.text})'!r})[0]"
        return f"Call({callable_expression(self.fn)})"


def message(term: Term, msg: object) -> str | None:
    """Check the message of a term.

    Raises:
        TypeError: when it is neither a string nor None.
    """
    if msg is not None and not isinstance(msg, str):
        raise TypeError(
            f"the message of {type(term).__name__} must be a string, not {shown(msg)}: give str(...) of it"
        )
    return None if msg is None else str.__str__(msg)
