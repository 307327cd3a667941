"""What the running kernel's verifier answered to a list of programs, asked once per boot.

The answers lie in a folder of the user's own (`$XDG_CACHE_HOME/pbt`, else `~/.cache/pbt`), as JSON. They
are believed only if folder and file belong to the user and nobody else may write to them, and only for
the boot and the list of programs that they were asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

Programs = Mapping[str, tuple[str, bytes, tuple[int, ...]]]
"""Name → (program type, instructions, slots that load an array map of 4 elements of 16 bytes)."""

_BOOT = "/proc/sys/kernel/random/boot_id"
_RETURN = bytes.fromhex("b7000000000000009500000000000000")
_POSSIBLE = "/sys/devices/system/cpu/possible"


def cpus(path: str = _POSSIBLE) -> int:
    """The number of CPUs that the machine may have, 0 if that is not to be found out."""
    try:
        with open(path) as file:
            return int(file.read().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return 0


def accepted(programs: Callable[[], Programs], ask: bool = True) -> dict[str, bool] | None:
    """Name → whether the running kernel takes the program.

    None if it was not asked since it booted and `ask` is false, or if it lets us load nothing.
    """
    file = _file()
    known = _read(file) if file else None
    if known is not None or not ask:
        return known
    known = _load(programs())
    if known is not None and file:
        with suppress(OSError):
            _write(file, known)
    return known


def _file() -> str:
    """Where the answers of this boot are, in a folder that nobody else may write to; "" if nowhere."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "pbt")
    try:
        with open(_BOOT) as file:
            boot = file.read().strip()
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _own(folder):
            return ""
    except OSError:
        return ""
    return os.path.join(folder, f"verifier-{boot}-{os.geteuid()}-{_table()}.json")


def _table() -> int:
    """Answers to other programs than today's do not count: the table's time is part of the name."""
    table = os.path.join(os.path.dirname(os.path.dirname(__file__)), "verifier_sim", "calibrate.py")
    try:
        return os.stat(table).st_mtime_ns
    except OSError:
        return 0


def _own(path: str) -> bool:
    """Whether it is the user's own file or folder, no link, and nobody else may write to it."""
    about = os.lstat(path)
    plain = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return plain and about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: str) -> dict[str, bool] | None:
    import json

    try:
        if not _own(path):
            return None
        with open(path) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): bool(has) for name, has in found.items()}


def _write(path: str, known: Mapping[str, bool]) -> None:
    import json

    half = f"{path}.{os.getpid()}"
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        json.dump(known, out)
    os.replace(half, path)


def _load(programs: Programs) -> dict[str, bool] | None:
    from pbt.source import KernelError
    from pbt.sys import bpf
    from pbt.sys.attempt import native

    with ExitStack() as stack:
        try:
            array = stack.enter_context(bpf.map_create("ARRAY", 4, 16, 4))
            bpf.prog_load("SOCKET_FILTER", native(_RETURN)).close()
        except KernelError:
            return None
        known = {}
        for name, (prog_type, insns, maps) in programs.items():
            code = bytearray(insns)
            for slot in maps:
                code[8 * slot + 4 : 8 * slot + 8] = array.fileno().to_bytes(4, "little")
            try:
                bpf.prog_load(prog_type, native(bytes(code))).close()
                known[name] = True
            except KernelError as error:
                if error.log:  # else the type of program itself is not for us
                    known[name] = False
        return known
