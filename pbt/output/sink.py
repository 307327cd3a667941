"""Where messages go: a stream of text, a stream of JSON lines, or a list for the calling program."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from select import select

from pbt.data import NamedTuple
from pbt.source import UsageError
from pbt.typing import Any, Literal, Protocol

Buffering = Literal["none", "line", "full"]
_FULL = 1 << 16


class Sink(Protocol):
    """What the session sends its messages to.

    `bulk`: texts of many messages may be given to `many` at once. `broken`: nobody reads any more.
    """

    bulk: bool
    broken: bool
    messages: Literal["text", "json", "both"]

    def emit(self, kind: str, text: bytes, data: Any, **more: Any) -> None: ...

    def many(self, kind: str, texts: Sequence[bytes]) -> None:
        """Messages of one kind whose data is their text."""

    def write(self, text: bytes) -> None: ...

    def settle(self) -> None:
        """A batch of messages is complete."""

    def flush(self) -> None: ...


class Stream:
    """Bytes to a file descriptor; owns it only when it was opened here."""

    def __init__(self, path: str | None = None, buffering: Buffering = "line", fd: int = 1) -> None:
        """`path`: write to this file, made anew; else to the descriptor `fd`. Raises UsageError."""
        self._own = path is not None
        self._fd = _create(path) if path is not None else fd
        self._most = 0 if buffering == "none" else _FULL
        self._settles = buffering != "full"
        self._parts: list[bytes] = []
        self._size = 0
        self.broken = False

    def write(self, text: bytes) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > self._most:
            self.flush()

    def settle(self) -> None:
        if self._settles:
            self.flush()

    def flush(self) -> None:
        """Write what is kept; a reader that has gone makes the stream `broken`, quietly.

        Raises UsageError when the bytes cannot be written for any other reason, such as a full disk.
        """
        data, self._parts, self._size = memoryview(b"".join(self._parts)), [], 0
        while data and not self.broken:
            data = data[self._write(data) :]

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BrokenPipeError:
            self.broken = True
        except BlockingIOError:  # somebody made our standard output non-blocking
            select([], [self._fd], [])
        except OSError as error:
            self.broken = True
            raise UsageError(f"cannot write the output: {error.strerror}") from error
        return 0

    def is_terminal(self) -> bool:
        return os.isatty(self._fd)

    def close(self) -> None:
        self.flush()
        if self._own:
            os.close(self._fd)
            self._own = False


def _create(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}") from error


class TextSink(Stream):
    """Messages as bpftrace's text."""

    bulk = True
    messages: Literal["text", "json", "both"] = "text"

    def emit(self, kind: str, text: bytes, data: Any, **more: Any) -> None:
        self.write(text)

    def many(self, kind: str, texts: Sequence[bytes]) -> None:
        self.write(b"".join(texts))


class JsonSink(Stream):
    """Messages as JSON, one a line."""

    bulk = True
    messages: Literal["text", "json", "both"] = "json"

    def emit(self, kind: str, text: bytes, data: Any, **more: Any) -> None:
        from pbt.output.json import line  # late: text needs none of it

        if data is not None:
            self.write(line(kind, data, **more))
        elif more:
            self.write(line(kind, **more))

    def many(self, kind: str, texts: Sequence[bytes]) -> None:
        from pbt.output.json import lines

        self.write(lines(kind, texts))


class Message(NamedTuple):
    """One message of a running script: its kind ("printf", "value", "map", …), text and data.

    `values` are the arguments of the call that sent it, as Python values.
    """

    kind: str
    text: str
    data: Any
    values: tuple[Any, ...] = ()


class Captured:
    """Messages as one text, for as long as a test runs; `errors`: how many of them report one."""

    bulk = False
    broken = False
    messages: Literal["text", "json", "both"] = "both"

    def __init__(self) -> None:
        self.text = b""
        self.errors = self.exit_code = 0

    def emit(self, kind: str, text: bytes, data: Any, **more: Any) -> None:
        level = REPORTS.get(kind)
        if level is not None and "filename" in more:
            place = "{filename}:{line}:{col}: {level}: {msg}\n".format(level=level, **more)
            text = place.encode(errors="surrogateescape")
        self.errors += level == "ERROR"
        self.write(text)

    def many(self, kind: str, texts: Sequence[bytes]) -> None:
        self.write(b"".join(texts))

    def write(self, text: bytes) -> None:
        if len(self.text) < _FULL:
            self.text += text

    def settle(self) -> None:
        """Nothing is buffered."""

    def flush(self) -> None:
        """Nothing is buffered."""


REPORTS = {"errorf": "ERROR", "runtime_error": "ERROR", "helper_error": "WARNING", "warnf": "WARNING"}
"""Kinds of messages that are about the script itself, and how bad they are."""


class Collector:
    """Messages kept for a program that iterates over a session."""

    bulk = False
    broken = False
    messages: Literal["text", "json", "both"] = "both"

    def __init__(self) -> None:
        """The session sets `values`, which gives the arguments of the record at hand."""
        self.values: Callable[[], tuple[Any, ...]] = tuple
        self._kept: list[Message] = []

    def emit(self, kind: str, text: bytes, data: Any, **more: Any) -> None:
        self._kept.append(Message(kind, text.decode(errors="replace"), data, self.values()))

    def many(self, kind: str, texts: Sequence[bytes]) -> None:
        for text in texts:
            self.emit(kind, text, text)

    def write(self, text: bytes) -> None:
        self.emit("text", text, text)

    def settle(self) -> None:
        """Nothing is buffered."""

    def flush(self) -> None:
        """Nothing is buffered."""

    def take(self) -> list[Message]:
        """The messages since the last call."""
        kept, self._kept = self._kept, []
        return kept
