"""The functions and methods that the points of the operating system stand on, and what each does there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from failpy._posix_caller import length, strike
from failpy._posix_calls import CALLS
from failpy._posix_file import METHODS, open_file
from failpy._posix_places import Evaluate, Place

__all__ = ["PLACES"]


def _before(name: str, *labels: str) -> Evaluate:
    """Hit the point, then go on."""

    def evaluate(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        hit = strike(name, **_values(labels, args, kwargs))
        return wrapped(*args, **kwargs) if hit is None else hit.value

    return evaluate


def _anyway(name: str, *labels: str) -> Evaluate:
    """Hit the point, and go on whatever comes of it: a close that fails has closed all the same."""

    def evaluate(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            strike(name, **_values(labels, args, kwargs))
        finally:
            wrapped(*args, **kwargs)

    return evaluate


def _moving(
    name: str,
    cut: Callable[[Any, int | None], tuple[int, Any]],
    at: int,
    parameters: str = "",
    **labels: int,
) -> Evaluate:
    """Hit the point, then move no more bytes than it says.

    Args:
        name: The point.
        cut: Says how much an argument asks for, and gives the argument that asks for less.
        at: Which argument.
        parameters: The names of the arguments, where they can be given by name.
        labels: What else a predicate sees, by the number of the argument.
    """
    least = 1 if name.endswith(("write", "send")) else 0
    named = parameters.split()

    def evaluate(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        if named and kwargs:
            args, kwargs = _in_order(named, args, kwargs)
        if len(args) <= at:
            return wrapped(*args, **kwargs)  # which says what is wrong with them
        if cut is _buffers:
            # It may be an iterator, as asyncio gives it, and is gone through twice.
            args = (*args[:at], list(args[at]), *args[at + 1 :])
        size, _ = cut(args[at], None)
        seen = {label: args[i] for label, i in labels.items() if i < len(args)}
        if named and kwargs:
            seen |= {label: kwargs[named[i]] for label, i in labels.items() if named[i] in kwargs}
        hit = strike(name, size=size, **_where(instance), **seen)
        if hit is not None and size:
            _, less = cut(args[at], length(hit, size, least))
            args = (*args[:at], less, *args[at + 1 :])
        return wrapped(*args, **kwargs)

    return evaluate


def _in_order(named: Sequence[str], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments with those in their places that were given by name, up to one that was left out."""
    kwargs = dict(kwargs)
    args = list(args)
    while len(args) < len(named) and named[len(args)] in kwargs:
        args.append(kwargs.pop(named[len(args)]))
    return tuple(args), kwargs


def _size(asked: Any, count: int | None) -> tuple[int, Any]:
    return asked, count


def _data(asked: Any, count: int | None) -> tuple[int, Any]:
    view = memoryview(asked)
    return view.nbytes, view if count is None else view.cast("B")[:count]


def _buffers(asked: Any, count: int | None) -> tuple[int, Any]:
    views = [memoryview(each) for each in asked]
    left = sum(view.nbytes for view in views) if count is None else count
    less: list[Any] = []
    for view in views:
        less.append(view.cast("B")[:left])
        left -= less[-1].nbytes
    return sum(view.nbytes for view in less), less


# --- where a method is not like the others ---


def _sendall(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """As many calls as it takes: each hits the point, and a short one is followed by the next."""
    __tracebackhide__ = True
    if not args:
        return wrapped(*args, **kwargs)
    data, *flags = args
    view = memoryview(data).cast("B")
    while True:
        hit = strike("posix/net/send", size=view.nbytes, **_where(instance))
        if hit is None or not view.nbytes:
            return wrapped(view, *flags)
        count = length(hit, view.nbytes, 1)
        wrapped(view[:count], *flags)
        view = view[count:]
        if not view.nbytes:
            return None


def _recv_into(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """A size of 0 means all of the buffer here, so it is the buffer that is made smaller."""
    __tracebackhide__ = True
    given = dict(zip(("buffer", "nbytes", "flags"), args, strict=False)) | kwargs
    if "buffer" not in given:
        return wrapped(*args, **kwargs)
    view = memoryview(given["buffer"]).cast("B")
    size = given.get("nbytes") or view.nbytes
    hit = strike("posix/net/recv", size=size, **_where(instance))
    if hit is None:
        return wrapped(*args, **kwargs)
    count = length(hit, size, 0)
    return wrapped(view[:count], 0, given.get("flags", 0)) if count else 0


def _connect_ex(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """It gives the errno of a failure in place of raising it."""
    __tracebackhide__ = True
    try:
        hit = strike("posix/net/connect", **_where(instance), **_values(("address",), args, kwargs))
    except OSError as error:
        if error.errno is None:
            raise
        return error.errno
    return wrapped(*args, **kwargs) if hit is None else 0


# --- what a predicate sees ---


def _values(labels: Sequence[str], args: Any, kwargs: Any) -> dict[str, Any]:
    # What is a dir_fd is given by name alone; `truncate` calls its size a length.
    in_order = (label for label in labels if not label.endswith("dir_fd"))
    named = {"size" if key == "length" else key: value for key, value in kwargs.items()}
    return dict(zip(in_order, args, strict=False)) | {key: named[key] for key in labels if key in named}


def _where(instance: object) -> dict[str, Any]:
    """Of a socket, its descriptor."""
    return {} if instance is None else {"fd": getattr(instance, "fileno", int)()}


def _tls(evaluate: Evaluate) -> Evaluate:
    """The same at a TLS socket; one that speaks none yet calls the plain method, which hits the point."""

    def unless_plain(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        plain = instance._sslobj is None
        return wrapped(*args, **kwargs) if plain else evaluate(wrapped, instance, args, kwargs)

    return unless_plain


def _tls_read(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """As much as a size or a buffer asks for."""
    __tracebackhide__ = True
    given = dict(zip(("len", "buffer"), args, strict=False)) | kwargs
    size, buffer = given.get("len", 1024), given.get("buffer")
    hit = strike("posix/net/recv", size=size, **_where(instance))
    count = size if hit is None else length(hit, size, 0)
    if not count:
        return b"" if buffer is None else 0
    return wrapped(count, buffer)


_SENDING, _RECEIVING = "posix/net/send", "posix/net/recv"
_SENDFILE, _COPY = "out_fd in_fd offset count", "src dst count offset_src offset_dst"
_BY_FILES = {**dict.fromkeys(METHODS), "posix/io/open": None}
_BY_SQLITE = [name for name in CALLS if name.startswith("posix/sqlite/")]


def _os(functions: str, evaluate: Evaluate) -> list[Place]:
    return [Place("os", function, evaluate) for function in functions.split()]


def _sockets(methods: str, evaluate: Evaluate) -> list[Place]:
    return [Place("socket", f"socket.{method}", evaluate) for method in methods.split()]


def _connect(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    from failpy._posix_sqlite import connect  # sqlite3 is there by now

    return connect(wrapped, instance, args, kwargs)


def _places() -> Iterator[tuple[str, list[Place]]]:
    def before(point: str, *labels: str) -> Evaluate:
        return _before(f"posix/{point}", *labels)

    def moving(point: str, cut: Any, at: int, parameters: str = "", **labels: int) -> Evaluate:
        return _moving(f"posix/{point}", cut, at, parameters, **labels)

    yield "io/open", _os("open", before("io/open", "path", "flags", "dir_fd"))
    yield "io/read", _os("read", moving("io/read", _size, 1, fd=0))
    yield "io/read", _os("pread", moving("io/read", _size, 1, fd=0, offset=2))
    yield "io/read", _os("readv", moving("io/read", _buffers, 1, fd=0))
    yield "io/read", _os("preadv", moving("io/read", _buffers, 1, fd=0, offset=2))
    yield "io/write", _os("write", moving("io/write", _data, 1, fd=0))
    yield "io/write", _os("pwrite", moving("io/write", _data, 1, fd=0, offset=2))
    yield "io/write", _os("writev", moving("io/write", _buffers, 1, fd=0))
    yield "io/write", _os("pwritev", moving("io/write", _buffers, 1, fd=0, offset=2))
    yield "io/write", _os("sendfile", moving("io/write", _size, 3, _SENDFILE, fd=0))
    yield "io/write", _os("copy_file_range", moving("io/write", _size, 2, _COPY, fd=1, offset=4))
    yield "io/fsync", _os("fsync fdatasync", before("io/fsync", "fd"))
    yield "io/truncate", _os("truncate", before("io/truncate", "path", "size"))
    yield "io/truncate", _os("ftruncate", before("io/truncate", "fd", "size"))
    yield "io/close", _os("close", _anyway("posix/io/close", "fd"))
    yield "io/rename", _os("rename replace", before("io/rename", "src", "dst", "src_dir_fd", "dst_dir_fd"))
    yield "io/link", _os("link symlink", before("io/link", "src", "dst"))
    yield "io/unlink", _os("unlink remove", before("io/unlink", "path", "dir_fd"))
    yield "io/mkdir", _os("mkdir", before("io/mkdir", "path", "mode"))
    yield "io/rmdir", _os("rmdir", before("io/rmdir", "path"))
    yield "io/stat", _os("stat lstat", before("io/stat", "path"))
    yield "io/listdir", _os("listdir scandir", before("io/listdir", "path"))
    resolve = before("net/resolve", "host", "port")
    yield "net/resolve", [Place("socket", each, resolve) for each in ("getaddrinfo", "gethostbyname")]
    yield "net/connect", _sockets("connect", before("net/connect", "address"))
    yield "net/connect", _sockets("connect_ex", _connect_ex)
    yield "net/bind", _sockets("bind", before("net/bind", "address"))
    yield "net/accept", _sockets("_accept", before("net/accept"))
    yield "net/send", _sockets("send sendto", moving("net/send", _data, 0))
    yield "net/send", _sockets("sendmsg", moving("net/send", _buffers, 0))
    yield "net/send", _sockets("sendall", _sendall)
    yield "net/recv", _sockets("recv recvfrom recvmsg", moving("net/recv", _size, 0))
    yield "net/recv", _sockets("recv_into", _recv_into)
    yield "net/send", [Place("ssl", "SSLSocket.send", _tls(moving("net/send", _data, 0)))]
    yield "net/recv", [Place("ssl", "SSLSocket.read", _tls(_tls_read))]


PLACES: dict[str, list[Place]] = {name: [] for name in CALLS}
"""Where each point stands."""

for _name, _found in _places():
    PLACES[f"posix/{_name}"] += _found
_open = Place("builtins", "open", open_file, also=("io",), always=True)
for _name in _BY_FILES:
    PLACES[_name].append(_open)
_opening = Place("sqlite3", "connect", _connect, also=("sqlite3.dbapi2",), always=True)
for _name in _BY_SQLITE:
    PLACES[_name].append(_opening)
