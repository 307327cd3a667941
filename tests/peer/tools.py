"""Runs scripts with pbt and with its peers, several at once."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.peer.cases import Case, Version, version

ROOT = Path(__file__).parents[2]
LOAD = Path(__file__).parent / "load.py"
TIMEOUT = 60.0  # seconds


class Tool(NamedTuple):
    """A program that runs scripts: its command and its version."""

    command: tuple[str, ...]
    version: Version


class Result(NamedTuple):
    """Lines of standard output, with the exit status as the last if it is not 0; and standard error."""

    lines: list[str]
    errors: str


PBT = Tool((sys.executable, "-m", "pbt"), ())


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


def run(tool: Tool, case: Case, number: int) -> Result:
    """Run a case. `number` makes the name of its load unlike that of any other run."""
    name = f"load{number:08}"
    words = [*tool.command, *(("-f", "json") if case.json else ())]
    words += [word for word in case.options if word != "json"]
    if case.load:
        words += ["-c", f"{sys.executable} -S {LOAD} {case.load} {name}"]
    words += ["-e", case.text.replace("LOADNAME", name), *case.args]
    try:
        done = subprocess.run(words, capture_output=True, env=_environment(case), cwd=ROOT, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as late:
        return Result(
            [*_lines(late.stdout or b"", name), "(timeout)"], (late.stderr or b"").decode(errors="replace")
        )
    status = [f"(status {done.returncode})"] if done.returncode else []
    return Result(_lines(done.stdout, name) + status, done.stderr.decode(errors="replace"))


def _lines(raw: bytes, name: str) -> list[str]:
    text = raw.decode(errors="backslashreplace").replace(name, "LOADNAME")
    return re.sub(r"\n$", "", text).split("\n") if text else []


def _environment(case: Case) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BPFTRACE_")}
    return {**kept, "TZ": "UTC", "PYTHONPATH": str(ROOT), **dict(case.env)}


def hunks(peer: Sequence[str], ours: Sequence[str]) -> str:
    """How two outputs differ, in the form of differences.txt."""
    from difflib import SequenceMatcher

    found: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, peer, ours, False).get_opcodes():
        if tag != "equal":
            found += [f"- {line}" for line in peer[a:b]] + [f"+ {line}" for line in ours[c:d]]
    return "\n".join(found)
