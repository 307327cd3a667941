"""The command `pbt`: chooses the verb, and turns every failure into words and an exit status."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from pbt.cli.say import say
from pbt.source import PbtError

VERBS = {
    "build": "compile a script into a file that `pbt run` starts without compiling",
    "run": "run a file made by `pbt build`",
    "explain": "show each line's IR, registers, stack, instructions and verifier states",
    "asm": "assemble BPF text into bytes",
    "disasm": "disassemble bytes into BPF text",
    "verify": "judge BPF programs as the kernel's verifier would",
    "tool": "run a tool that comes with pbt, such as opensnoop; alone, list them",
    "target": "save a description of this machine to compile for it elsewhere",
}
"""What `pbt VERB` does; without a verb it traces. Each is a module of this package with `main(argv)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: the script's own, or 1 for what is wrong with script, options or machine."""
    _open_standard()
    gc.disable()  # until a script runs: compiling makes many objects and hardly a cycle
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words[0] if words and words[0] in VERBS else ""
    try:
        module = import_module(f"pbt.cli.{verb}" if verb else "pbt.cli.trace")
        status: int = module.main(words[1:] if verb else words)
        sys.stdout.flush()
        return status
    except PbtError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(_nothing(), 1)
        return 141
    except OSError as error:
        _complain(_refused(error))
        return 1
    except ImportError as error:  # of Python's libraries: no memory for it, or no descriptor
        _complain(
            f"ERROR: a part of Python or pbt cannot be loaded: {error}\nHINT: see `ulimit -v` and `ulimit -n`"
        )
        return 1
    except MemoryError:
        _complain("ERROR: not enough memory\nHINT: this process may have as much as `ulimit -v` says")
        return 1
    except RecursionError:
        _complain("ERROR: the script is nested too deep\nHINT: split it into several statements")
        return 1
    finally:
        gc.enable()


def _open_standard() -> None:
    """Give the command the three descriptors that it was started without: else a map would be its output.

    Whatever the locale, what is printed is UTF-8, as scripts are, and bytes of file names stay what they are.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _nothing()  # gets the lowest number that is free
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))
        elif fd and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def _nothing() -> int:
    """A descriptor with nothing behind it."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError:  # no /dev: a pipe that nobody reads
        reader, writer = os.pipe()
        os.dup2(writer, reader)
        os.close(writer)
        return reader


_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO)
"""What writing alone is refused for."""


def _refused(error: OSError) -> str:
    """What the system would not do, as words."""
    from pbt.host.limits import meaning
    from pbt.source import KernelError

    number = error.errno or 0
    about = "cannot write the output" if number in _FULL else "the system refused"
    if error.filename:
        about = f"cannot use {error.filename}"
    return str(KernelError(about, number, meaning(number)))


def _complain(text: str) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    say(text)
