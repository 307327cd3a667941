"""The command `pbt`: chooses the verb, and turns every failure into words and an exit status."""

from __future__ import annotations

import gc
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except RecursionError:
        _complain("ERROR: the script is nested too deep\nHINT: split it into several statements")
        return 1
    finally:
        gc.enable()


def _open_standard() -> None:
    """Give the command the three descriptors that it was started without: else a map would be its output."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            setattr(sys, name, os.fdopen(fd, "r+" if fd == 0 else "w", closefd=False))


def _complain(text: str) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    say(text)
