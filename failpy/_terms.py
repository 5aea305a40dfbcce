"""The terms as typed objects, one class for each action: for what text cannot say."""

from __future__ import annotations

from typing import ClassVar, final

from failpy._chain import Chance, Count, Term, Terms
from failpy._diverting import Call, Panic, Raise, Return, message
from failpy._literals import duration_text, literal_text, shown
from failpy._scanner import MAX_SECONDS

__all__ = [
    "Break",
    "Call",
    "Chance",
    "Count",
    "Delay",
    "Exit",
    "Kill",
    "Off",
    "Panic",
    "Pause",
    "Print",
    "Raise",
    "Return",
    "Sleep",
    "Term",
    "Terms",
    "Yield",
]

_PAUSE_SECONDS = 60.0


@final
class Off(Term):
    """Do nothing, and take the turn: `2*off->raise` spares the first two hits. Text: `off`.

    Examples:
        >>> str(2 * Off() >> Raise())
        '2*off->raise'
    """

    __slots__ = ()
    action: ClassVar[str] = "off"


@final
class Sleep(Term):
    """Wait; in async code, without holding up the event loop. Text: `sleep(10)`, in milliseconds.

    Args:
        seconds: How long, in seconds: not negative, at most 9.2e9.

    Raises:
        TypeError: when it is no number.
        ValueError: when it is out of range.

    Examples:
        >>> str(Sleep(0.01))
        'sleep(10)'
    """

    __slots__ = ("seconds",)
    action: ClassVar[str] = "sleep"
    seconds: float

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._set(seconds=_seconds("Sleep", seconds))

    def _argument(self) -> str:
        return duration_text(self.seconds)

    def _expression(self) -> str:
        return f"Sleep({self.seconds!r})"


@final
class Delay(Term):
    """Burn CPU, as fail(9) does with `delay`. Text: `delay(10)`, in milliseconds.

    Args:
        seconds: How long, in seconds: not negative, at most 9.2e9.

    Raises:
        TypeError: when it is no number.
        ValueError: when it is out of range.

    Examples:
        >>> str(Delay(1.5))
        'delay(1500)'
    """

    __slots__ = ("seconds",)
    action: ClassVar[str] = "delay"
    seconds: float

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._set(seconds=_seconds("Delay", seconds))

    def _argument(self) -> str:
        return duration_text(self.seconds)

    def _expression(self) -> str:
        return f"Delay({self.seconds!r})"


@final
class Print(Term):
    """Write `failpoint print: NAME` to stdout, and the message after it. Text: `print("here")`.

    Args:
        msg: The message.

    Examples:
        >>> str(Print("here"))
        'print("here")'
    """

    __slots__ = ("msg",)
    action: ClassVar[str] = "print"
    _holds: ClassVar[str] = "msg"
    msg: str | None

    def __init__(self, msg: str | None = None) -> None:
        super().__init__()
        self._set(msg=message(self, msg))

    def _argument(self) -> str | None:
        return "" if self.msg is None else literal_text(self.msg)

    def _expression(self) -> str:
        return "Print()" if self.msg is None else f"Print({self.msg!r})"


@final
class Pause(Term):
    """Hold the hit until it is resumed, disarmed or re-armed. Text: `pause`, `pause(5s)`.

    Args:
        timeout: After how many seconds the hit raises `PauseTimeout`: more than 0, at most 9.2e9.

    Raises:
        TypeError: when it is no number.
        ValueError: when it is out of range.

    Examples:
        >>> str(Pause(0.5))
        'pause(500)'
    """

    __slots__ = ("timeout",)
    action: ClassVar[str] = "pause"
    timeout: float

    def __init__(self, timeout: float = _PAUSE_SECONDS) -> None:
        super().__init__()
        if timeout is None:
            raise TypeError(
                "Pause needs a timeout in seconds, not None: nothing waits for ever; give a long one"
            )
        self._set(timeout=_seconds("Pause", timeout))
        if self.timeout == 0:
            raise ValueError("Pause needs a timeout of more than 0 seconds: use Yield() to give up one turn")

    def _argument(self) -> str:
        return "" if self.timeout == _PAUSE_SECONDS else duration_text(self.timeout)

    def _expression(self) -> str:
        return f"Pause({self.timeout!r})" if self._argument() else "Pause()"


@final
class Yield(Term):
    """Give up the turn once, to another thread or task. Text: `yield`.

    Examples:
        >>> str(Yield())
        'yield'
    """

    __slots__ = ()
    action: ClassVar[str] = "yield"


@final
class Break(Term):
    """Call `breakpoint()`. Text: `break`.

    Examples:
        >>> str(1 * Break())
        '1*break'
    """

    __slots__ = ()
    action: ClassVar[str] = "break"


@final
class Exit(Term):
    """End the process with `os._exit`: nothing is cleaned up. Text: `exit`, `exit(3)`.

    Args:
        code: The exit status, from 0 to 255.

    Raises:
        TypeError: when it is no integer.
        ValueError: when it is out of range.

    Examples:
        >>> str(Exit(3))
        'exit(3)'
    """

    __slots__ = ("code",)
    action: ClassVar[str] = "exit"
    code: int

    def __init__(self, code: int = 1) -> None:
        super().__init__()
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"an exit status must be an integer, not {shown(code)}: give one from 0 to 255")
        if not 0 <= code <= 255:
            raise ValueError(
                f"an exit status must be between 0 and 255, not {shown(code)}: use Kill() for SIGKILL"
            )
        self._set(code=int(code))

    def _argument(self) -> str:
        return "" if self.code == 1 else str(self.code)

    def _expression(self) -> str:
        return f"Exit({self._argument()})"


@final
class Kill(Term):
    """Send SIGKILL to this process: the crash of the machine room. Text: `kill`.

    Examples:
        >>> str(2 * Off() >> Kill())
        '2*off->kill'
    """

    __slots__ = ()
    action: ClassVar[str] = "kill"


def _seconds(what: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        way = f"in text it is {what.lower()}({value})" if type(value) is str else "0.01 is 10 ms"
        raise TypeError(f"{what} takes a number of seconds, not {shown(value)}: {way}")
    if not 0 <= value <= MAX_SECONDS:
        raise ValueError(
            f"{what} takes from 0 to {MAX_SECONDS:g} seconds (292 years), not {shown(value)}: 0.01 is 10 ms"
        )
    # The sum makes a zero of -0.0.
    return float(value) + 0.0
