"""What the verbs share: options on both sides of a word, help, bytes of files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pbt.cli.options import Arguments, Option, parse, usage
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.pipeline import HeaderOptions

HELP = Option("h", "help", "", "this help")
PROGRAM = Option("e", "", "PROG", "the program, in place of a file")
TARGET = Option("", "target", "DIR", "for the machine saved in DIR (see pbt target)")
UNSAFE = Option("", "unsafe", "", "allow system(), signal() and other functions that change things")
NO_WARNINGS = Option("", "no-warnings", "", "no warnings")
DRY_RUN = Option("", "dry-run", "", "attach, then stop")
RUNNING = (
    Option("p", "pid", "PID", "trace this process alone, until it ends"),
    Option("c", "cmd", "CMD", "run CMD, trace until it ends"),
    Option("f", "", "FORMAT", "output format: text, json"),
    Option("o", "output", "FILE", "write the program's output to FILE"),
    Option("q", "quiet", "", "no messages but the program's own"),
    Option("B", "", "MODE", "output buffering: none, line, full"),
)

HEADERS = (
    Option("I", "", "DIR", "look for headers in DIR first", many=True),
    Option("", "include", "FILE", "include FILE before the script's own headers", many=True),
)


def headers_of(args: Arguments) -> HeaderOptions:
    """What -I and --include say."""
    from pbt.pipeline import HeaderOptions

    return HeaderOptions(tuple(args.all("I")), tuple(args.all("include")))


def mixed(argv: Sequence[str], options: Sequence[Option], words: int) -> Arguments:
    """Like `parse`, but options may also follow each of the first `words` other words.

    With -e PROG there is no such word: what follows the options are the program's parameters.
    """
    given: list[str] = []
    plain: list[str] = []
    left = list(argv)
    while True:
        found = parse(left, options)
        rest = found.rest
        used = left[: len(left) - len(rest)]
        if not rest or len(plain) == words or used[-1:] == ["--"] or found.has("e"):
            args = parse([*given, *used], options)
            args.rest = [*plain, *rest]
            return args
        given += used
        plain.append(rest[0])
        left = rest[1:]


def explained(args: Arguments, text: str, options: Sequence[Option]) -> bool:
    """Print help if it is asked for; whether it was. `text`: usage lines and what the verb does."""
    if args.has("help"):
        print(f"USAGE:\n{text}\n\nOPTIONS:\n{usage(options)}")
    return args.has("help")


def no_more(words: Sequence[str], verb: str) -> None:
    """UsageError if words are left over."""
    if words:
        raise UsageError(f"pbt {verb} does not know what to do with {words[0]}", f"pbt {verb} --help")


def read_bytes(name: str) -> bytes:
    """A file's bytes, or those of standard input for "-"."""
    try:
        if name == "-":
            return sys.stdin.buffer.read()
        with open(name, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None


def write_bytes(name: str, data: bytes) -> None:
    """To a file, or to standard output for "-"."""
    try:
        if name == "-":
            sys.stdout.buffer.write(data)
            return
        with open(name, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"cannot write {name}: {error.strerror}") from None


def text_of(data: bytes, name: str) -> str:
    """Bytes as UTF-8 text, or a UsageError."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}"
        ) from None
