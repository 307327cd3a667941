"""Runs commands in a kernel of the lab, and boots it again when one of them brings it down.

Emulation is 10 to 30 times slower than the machine itself, so one guest runs many commands.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.lab import boot

BOOTS = 5  # at most so many for one list of commands
TRIES = 2  # a command that so many guests did not survive is given up
START = 120.0  # seconds from QEMU's start until the first command runs
MARGIN = 60.0  # seconds beyond a command's own timeout until its guest counts as hung
LOOK = 0.5  # seconds between looks at what a guest has done
PANIC = re.compile(r"^.*(Kernel panic|soft lockup).*$", re.MULTILINE)


class Command(NamedTuple):
    """A program to run in the guest.

    With `load`, a shell line: it is run `settle` seconds after `ready` occurred in the program's
    output, and then the program gets SIGINT. `timeout`: seconds until it is killed.
    """

    argv: Sequence[str]
    load: str = ""
    ready: str = "Attach"
    settle: float = 0.0
    timeout: float = 120.0


class Result(NamedTuple):
    """What came of a command; `ready`: the seconds until `load`.

    `code` is None when it was killed, or when no guest survived it: `stderr` has then the console's end.
    """

    code: int | None
    stdout: str
    stderr: str
    ready: float
    seconds: float


def run(
    name: str,
    commands: Sequence[Command],
    timeout: float | None = None,
    files: Mapping[str, str] | None = None,
) -> list[Result]:
    """Run the commands in kernel `name` of `kernels.KERNELS`, one after another.

    All run in one guest. When that hangs or ends, the next one runs what is left, the command that
    it did not survive last. `timeout`: seconds for everything. `files`: texts that the guest finds
    under /run/lab.
    """
    end = time.monotonic() + (timeout or START + MARGIN + sum(command.timeout for command in commands))
    results: dict[int, Result] = {}
    left, fell, why = list(range(len(commands))), Counter[int](), ""
    for _ in range(BOOTS):
        if left and time.monotonic() < end:
            asked = [_asked(commands[index], boot.interpreter(name)) for index in left]
            done, why = _boot(name, asked, files or {}, end)
            results.update(zip(left, done, strict=False))
            left = left[len(done) :]
            if left and why:
                fell[left[0]] += 1
                left = [*left[1:], *(left[:1] if fell[left[0]] < TRIES else ())]
    lost = Result(None, "", f"the guest did not survive this, or did not come to it: {why}", 0.0, 0.0)
    return [results.get(index, lost) for index in range(len(commands))]


def _asked(command: Command, python: str) -> dict[str, object]:
    """A command as guest.py reads it; the interpreter of the tests means the guest's."""
    argv = [python if word == sys.executable else word for word in command.argv]
    return command._replace(argv=argv)._asdict()


def _boot(
    name: str, asked: Sequence[Mapping[str, object]], files: Mapping[str, str], end: float
) -> tuple[list[Result], str]:
    """What one guest did of the commands; and if that is not all, why, with the end of its console."""
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        share = Path(folder)
        (share / "commands.json").write_text(json.dumps(asked))
        for path, text in files.items():
            (share / path).write_text(text, encoding="utf-8")
        with (share / "console").open("wb") as console:
            process = boot.start(name, share, console)
            try:
                why = _watch(process, share, [float(str(command["timeout"])) for command in asked], end)
            finally:
                process.kill()
                process.wait()
        return _results(share), why and f"{why}; the end of its console:\n{_console(share)[-3000:]}"


def _watch(process: subprocess.Popen[bytes], share: Path, timeouts: Sequence[float], end: float) -> str:
    """Wait until all commands are done: "". Or why it makes no sense to wait longer."""
    seen, due = -1, time.monotonic() + START
    while True:
        done = len(_results(share)) if (share / "begun").exists() else -1
        if done == len(timeouts):
            return ""
        if done > seen:
            seen, due = done, time.monotonic() + timeouts[done] + MARGIN
        if process.poll() is not None:
            return f"QEMU ended with {process.returncode}"
        if panic := PANIC.search(_console(share)):
            return panic[0].strip()
        if time.monotonic() > min(due, end):
            return "the guest hangs" if time.monotonic() < end else "no time is left"
        time.sleep(LOOK)


def _results(share: Path) -> list[Result]:
    """Those that the guest has written so far."""
    found = []
    while (path := share / f"{len(found)}.json").exists():
        found.append(Result(**json.loads(path.read_text())))
    return found


def _console(share: Path) -> str:
    return (share / "console").read_text(errors="replace")
