"""What every kernel of the lab runs, in one boot: the table of commands, and the files that they read.

A test takes the result by the command's name: `booted.results["wide"]`.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
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


def asked(kernel: str) -> list[Asked]:
    """All that a kernel is asked to run, one after the other; those of other machines run rows.py alone."""
    rows = [Asked("rows", _python("-m", "tests.lab.inside"))] if kernels.thorough() else []
    if not kernels.native(kernel):
        return rows
    live = [Asked("live", _python("-m", "pytest", *LIVE))] if kernel in LIVE_IN else []
    scripts = [Asked(name, command, test_kprobe.FILES) for name, command in test_kprobe.COMMANDS.items()]
    return [*scripts, *rows, Asked("tools", _tools(kernel)), *live, *_verifier(kernel)]


def _python(*words: str) -> vm.Command:
    return vm.Command([sys.executable, *words], timeout=600)


def _tools(kernel: str) -> vm.Command:
    """Every script of tools.py, with the modules that some of them trace."""
    root = shlex.quote(str(kernels.fetch(kernel).root))
    words = f"modprobe -d {root} -a md_mod xfs; exec {shlex.quote(sys.executable)} -m tests.lab.tools"
    return vm.Command(["sh", "-c", words], timeout=600)


def _verifier(kernel: str) -> list[Asked]:
    """Programs for the kernel's verifier: those of root, those of nobody, and what is compiled there."""
    root, nobody = judging.file_of_root(), judging.file_of_nobody()
    share = (str(list(kernels.KERNELS).index(kernel) % SHARES), str(SHARES))
    return [
        Asked("root", judging.command("root.jsonl"), {"root.jsonl": root}),
        Asked("nobody", judging.command("nobody.jsonl", "--unprivileged"), {"nobody.jsonl": nobody}),
        Asked("scripts", _python("-m", "tests.lab.scripts", *share)),
    ]
