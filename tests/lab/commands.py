"""What every kernel of the lab runs, in one boot: commands, by the file of tests that looks at what comes of them.

A test takes a result by the command's name: `booted.results["wide"]`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from tests.lab import judging, kernels, test_kprobe, vm

LIVE = ("tests/live/test_probes.py", "tests/live/test_probe_types.py")
LIVE_IN = ("6.1",)  # they take five minutes, and run on the host's kernel, too
SHARES = 5  # each kernel takes another fifth of the scripts, so that all are taken by some kernel


class Asked(NamedTuple):
    """One command; `files`: texts that it finds under /run/lab."""

    name: str
    command: vm.Command
    files: Mapping[str, str] = {}


def asked(kernel: str, tests: Collection[str]) -> list[Asked]:
    """All that a kernel is asked to run for some files of tests, one after the other.

    Kernels of other machines run rows.py alone: these are slower by far.
    """
    wanted = [name for name in TABLE if name in tests and (kernels.native(kernel) or name == "test_types")]
    return [row for name in wanted for row in TABLE[name](kernel)]


def _scripts(kernel: str) -> list[Asked]:
    return [Asked(name, command, test_kprobe.FILES) for name, command in test_kprobe.COMMANDS.items()]


def _rows(kernel: str) -> list[Asked]:
    rows = [Asked("rows", _python("-m", "tests.lab.inside"))] if kernels.thorough() else []
    live = [Asked("live", _python("-m", "pytest", *LIVE))] if kernel in LIVE_IN else []
    return rows + live


def _python(*words: str) -> vm.Command:
    return vm.Command([sys.executable, *words], timeout=600)


def _tools(kernel: str) -> list[Asked]:
    """Every script of tools.py, with the modules that some of them trace."""
    root = shlex.quote(str(kernels.fetch(kernel).root))
    words = f"modprobe -d {root} -a md_mod xfs; exec {shlex.quote(sys.executable)} -m tests.lab.tools"
    return [Asked("tools", vm.Command(["sh", "-c", words], timeout=600))]


def _verifier(kernel: str) -> list[Asked]:
    """Programs for the kernel's verifier: those of root, those of nobody, and what is compiled there."""
    root, nobody = judging.file_of_root(), judging.file_of_nobody()
    share = (str(list(kernels.KERNELS).index(kernel) % SHARES), str(SHARES))
    return [
        Asked("root", judging.command("root.jsonl"), {"root.jsonl": root}),
        Asked("nobody", judging.command("nobody.jsonl", "--unprivileged"), {"nobody.jsonl": nobody}),
        Asked("scripts", _python("-m", "tests.lab.scripts", *share)),
    ]


TABLE: Mapping[str, Callable[[str], list[Asked]]] = {
    "test_kprobe": _scripts,
    "test_types": _rows,
    "test_tools": _tools,
    "test_verifier": _verifier,
}
"""File of tests → what it asks a kernel."""
