"""What the running kernel's verifier answered to a list of programs, asked once per boot.

The answers are kept as JSON (see cache.py), and believed only for the boot and the list of programs that they
were asked for.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from pbt.host import cache

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
    known = _read()
    if known is not None or not ask:
        return known
    known = _load(programs())
    if known is not None:
        _write(known)
    return known


def stamp() -> tuple[str, int]:
    """What answers are known now: a different value when that changes."""
    return _name(), zlib.crc32(cache.read(_name()) or b"")


def _name() -> str:
    """Under which the answers of this boot are kept."""
    try:
        with open(_BOOT) as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return f"verifier-{boot}-{_table()}"


def _table() -> int:
    """Answers to other programs than today's do not count: the table's time is part of the name."""
    table = os.path.join(os.path.dirname(os.path.dirname(__file__)), "verifier_sim", "calibrate.py")
    try:
        return os.stat(table).st_mtime_ns
    except OSError:
        return 0


def _read() -> dict[str, bool] | None:
    data = cache.read(_name())
    if data is None:
        return None
    import json

    try:
        found = json.loads(data)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): bool(has) for name, has in found.items()}


def _write(known: Mapping[str, bool]) -> None:
    import json

    cache.write(_name(), json.dumps(known).encode())


def _load(programs: Programs) -> dict[str, bool] | None:
    from pbt.source import KernelError
    from pbt.sys import bpf

    with ExitStack() as stack:
        try:
            array = stack.enter_context(bpf.map_create("ARRAY", 4, 16, 4))
            bpf.prog_load("SOCKET_FILTER", bpf.native(_RETURN)).close()
        except KernelError:
            return None
        known = {}
        for name, (prog_type, insns, maps) in programs.items():
            code = bytearray(insns)
            for slot in maps:
                code[8 * slot + 4 : 8 * slot + 8] = array.fileno().to_bytes(4, "little")
            try:
                bpf.prog_load(prog_type, bpf.native(bytes(code))).close()
                known[name] = True
            except KernelError as error:
                if error.log:  # else the type of program itself is not for us
                    known[name] = False
        return known
