"""Runs scripts with pbt and with its peers, several at once."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.peer.cases import Case, Version, version

ROOT = Path(__file__).parents[2]
LOAD = Path(__file__).parent / "load.py"
TIMEOUT = "60"  # seconds
_KEPT = {name: value for name, value in os.environ.items() if not name.startswith("BPFTRACE_")}
"""As it was before tests ran: pytest writes into the environment while threads here start processes."""


class Tool(NamedTuple):
    """A bpftrace: its command and its version."""

    command: tuple[str, ...]
    version: Version


class Result(NamedTuple):
    """Lines of standard output, with the exit status as the last if it is not 0; and standard error."""

    lines: list[str]
    errors: str


def installed() -> Tool | None:
    """The bpftrace on the search path."""
    return _tool(("bpftrace",)) if shutil.which("bpftrace") else None


def given() -> Tool | None:
    """The one that the environment variable PBT_PEER names, as a command."""
    words = shlex.split(os.environ.get("PBT_PEER", ""))
    return _tool(tuple(words)) if words else None


def _tool(command: tuple[str, ...]) -> Tool:
    text = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    return Tool(command, version(text.split("v")[-1].split("-")[0])[:2])


def run_peer(tool: Tool, case: Case, number: int) -> Result:
    """Run a case with a bpftrace. `number` tells the name of its load from those of other runs."""
    name = _name(number)
    command = ["timeout", TIMEOUT, *tool.command, *_words(case, name)]
    done = subprocess.run(command, capture_output=True, env=_environment(case), cwd=ROOT, check=False)
    return _result(done.returncode, done.stdout, done.stderr, name)


class Nurseries:
    """Processes that run `pbt`: see nursery.py."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._all = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.peer.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for _ in range(count)
        ]
        for process in self._all:
            self._free.put(process)

    def run(self, case: Case, number: int) -> Result:
        """Run a case with pbt."""
        name = _name(number)
        with TemporaryDirectory() as folder, self._one() as process:
            out, err = Path(folder, "out"), Path(folder, "err")
            out.touch()
            err.touch()
            job = {"words": _words(case, name), "environment": _environment(case)}
            assert process.stdin and process.stdout
            print(json.dumps({**job, "out": str(out), "err": str(err)}), file=process.stdin, flush=True)
            status = process.stdout.readline()
            assert status, "the nursery is gone"
            return _result(int(status), out.read_bytes(), err.read_bytes(), name)

    @contextmanager
    def _one(self) -> Iterator[subprocess.Popen[str]]:
        process = self._free.get()
        try:
            yield process
        finally:
            self._free.put(process)

    def close(self) -> None:
        for process in self._all:
            process.communicate()


def _name(number: int) -> str:
    """At most 15 bytes, as the kernel has it; other tests may run beside these."""
    return f"l{os.getpid():07}n{number:05}"


def _words(case: Case, name: str) -> list[str]:
    """The command line after the command."""
    words = ["-f", "json"] if case.json else []
    words += [word for word in case.options if word != "json"]
    if case.load:
        words += ["-c", f"{sys.executable} -S {LOAD} {case.load} {name}"]
    return [*words, "-e", case.text.replace("LOADNAME", name), *case.args]


def _result(status: int, out: bytes, err: bytes, name: str) -> Result:
    text = re.sub(r"\n$", "", out.decode(errors="backslashreplace").replace(name, "LOADNAME"))
    lines = text.split("\n") if text else []
    return Result(lines + ([f"(status {status})"] if status else []), err.decode(errors="replace"))


def _environment(case: Case) -> dict[str, str]:
    return {**_KEPT, "TZ": "UTC", **dict(case.env)}


def hunks(peer: Sequence[str], ours: Sequence[str]) -> str:
    """How two outputs differ, in the form of differences.txt: what is only added has a neighbour beside it."""
    from difflib import SequenceMatcher

    found: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, peer, ours, False).get_opcodes():
        if tag == "insert" and a:
            a, c = a - 1, c - 1
        elif tag == "insert" and a < len(peer):
            b, d = b + 1, d + 1
        if tag != "equal":
            found += [f"- {line}" for line in peer[a:b]] + [f"+ {line}" for line in ours[c:d]]
    return "\n".join(found)
