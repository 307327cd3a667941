"""A tool that runs a script while a bench watches: its programs as the kernel describes them, and what they take."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from tempfile import TemporaryFile

from bench.tools import CPUS, Tool, on
from pbt.source import KernelError
from pbt.sys import objects
from pbt.sys.syscall import Fd

START_LIMIT = 15.0  # seconds until a tool must have loaded its programs
STEADY = 0.3  # seconds without a new program: all are there, where a tool does not say so
_ID = re.compile(rb"^prog_id:\s*(\d+)", re.MULTILINE)


def program_ids(pid: int) -> set[int]:
    """Programs that a process holds, directly or by their links."""
    found: set[int] = set()
    folder = f"/proc/{pid}/fdinfo"
    try:
        for name in os.listdir(folder):
            with open(f"{folder}/{name}", "rb") as file:
                found.update(map(int, _ID.findall(file.read())))
    except OSError:
        pass
    return found


class Running:
    """A tool that runs a script, not on the CPU of the load; `infos` holds all programs it was ever seen to have."""

    def __init__(self, tool: Tool, words: Sequence[str]) -> None:
        self.infos: dict[int, objects.ProgInfo] = {}
        self._fds: dict[int, Fd] = {}
        self.said = TemporaryFile()  # noqa: SIM115
        with on(CPUS[1:] or CPUS):
            self.process = subprocess.Popen(
                tool.running(*words), stdout=subprocess.DEVNULL, stderr=self.said, stdin=subprocess.DEVNULL
            )

    def look(self) -> int:
        """Note the programs there are now; how many were new."""
        new = program_ids(self.process.pid) - self.infos.keys()
        for number in new:
            try:
                fd = objects.fd_by_id("prog", number)
            except KernelError:  # gone meanwhile
                continue
            self.infos[number], self._fds[number] = objects.prog_info(fd.fileno()), fd
        return len(new)

    def wait(self) -> bool:
        """Until no new program has come for a while; False if the tool ended before."""
        start = changed = time.monotonic()
        while time.monotonic() - start < START_LIMIT:
            if self.look():
                changed = time.monotonic()
            if self.process.poll() is not None:
                return bool(self.infos) and self.process.returncode == 0
            if self.infos and (self.attached() or time.monotonic() - changed > STEADY):
                self.look()
                return True
            time.sleep(0.01)
        return False

    def attached(self) -> bool:
        """Whether the tool says so; 0.17 never does."""
        return b"Attached" in os.pread(self.said.fileno(), 1 << 16, 0)

    def counted(self) -> list[int]:
        """Programs that run when something happens; those without a name only ask what the kernel can do."""
        named = [(number, info.name.lower()) for number, info in self.infos.items() if info.name]
        return [number for number, name in named if name.partition("_")[0] not in ("begin", "end")]

    def times(self) -> tuple[int, int]:
        """Nanoseconds and runs of those so far."""
        infos = [objects.prog_info(self._fds[number].fileno()) for number in self.counted()]
        return sum(i.run_time_ns for i in infos), sum(i.run_cnt for i in infos)

    def stop(self) -> None:
        """Kill it: what it would print at its end is of no interest, and the kernel takes back its programs."""
        self.process.kill()
        self.process.wait()
        for fd in self._fds.values():
            fd.close()
        self.said.close()
