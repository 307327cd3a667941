"""What the running kernel's verifier answered to a list of programs, asked once per boot.

The answers lie in a folder of the user's own (`$XDG_CACHE_HOME/pbt`, else `~/.cache/pbt`), as JSON. They
are believed only if folder and file belong to the user and nobody else may write to them, and only for
the boot and the list of programs that they were asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

Programs = Mapping[str, tuple[str, bytes, tuple[int, ...]]]
"""Name → (program type, instructions, slots that load an array map of 4 elements of 16 bytes)."""

_BOOT = "/proc/sys/kernel/random/boot_id"
_RETURN = bytes.fromhex("b7000000000000009500000000000000")
_POSSIBLE = "/sys/devices/system/cpu/possible"


def cpus(path: str = _POSSIBLE) -> int:
    """The number of CPUs that the machine may have, 0 if that is not to be found out."""
    try:
        return int(Path(path).read_text().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return 0


def accepted(programs: Callable[[], Programs], ask: bool = True) -> dict[str, bool] | None:
    """Name → whether the running kernel takes the program.

    None if it was not asked since it booted and `ask` is false, or if it lets us load nothing.
    """
    file = _file()
    known = _read(file) if file is not None else None
    if known is not None or not ask:
        return known
    known = _load(programs())
    if known is not None and file is not None:
        with suppress(OSError):
            _write(file, known)
    return known


def _file() -> Path | None:
    """Where the answers of this boot are, in a folder that nobody else may write to."""
    try:
        boot = Path(_BOOT).read_text().strip()
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        folder = Path(base) / "pbt"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _own(folder):
            return None
    except OSError:
        return None
    name = hashlib.sha256(f"{boot} {os.geteuid()} {_table()}".encode()).hexdigest()[:16]
    return folder / f"verifier-{name}.json"


def _table() -> str:
    """Answers to other programs than today's do not count: the table's time is part of the name."""
    table = Path(__file__).parent.parent / "verifier_sim" / "calibrate.py"
    return str(table.stat().st_mtime_ns) if table.exists() else ""


def _own(path: Path) -> bool:
    """Whether it is the user's own file or folder, no link, and nobody else may write to it."""
    about = path.lstat()
    plain = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return plain and about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(file: Path) -> dict[str, bool] | None:
    try:
        if not _own(file):
            return None
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): bool(has) for name, has in found.items()}


def _write(file: Path, known: Mapping[str, bool]) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent)  # mode 0600
    with os.fdopen(handle, "w") as out:
        json.dump(known, out)
    os.replace(name, file)


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
