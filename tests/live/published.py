"""The scripts that Debian's package `bpftrace` installs, and a machine that has all that they ask for."""

from __future__ import annotations

import struct
from pathlib import Path

from pbt.host.target import Target
from pbt.probes.kprobe import traceable

FOLDER = Path("/usr/sbin")
NAMES = (
    "bashreadline", "biolatency", "biosnoop", "biostacks", "bitesize", "capable", "cpuwalk", "dcsnoop",
    "execsnoop", "gethostlatency", "killsnoop", "loads", "mdflush", "naptime", "oomkill", "opensnoop",
    "pidpersec", "runqlat", "runqlen", "setuids", "ssllatency", "sslsnoop", "statsnoop", "swapin",
    "syncsnoop", "syscount", "tcpaccept", "tcpconnect", "tcpdrop", "tcplife", "tcpretrans", "tcpsynbl",
    "threadsnoop", "undump", "vfscount", "vfsstat", "writeback", "xfsdist",
)  # fmt: skip
"""Those of version 0.17."""

FUNCTIONS = ("lookup_fast.constprop.7", "md_flush_request", "swap_readpage", "__blk_account_io_start")
"""Functions that they trace and that not every kernel has."""


def path(name: str) -> Path:
    """The script's file."""
    return FOLDER / f"{name}.bt"


def absent() -> str:
    """Why the scripts are not here; "" if they are."""
    missing = [name for name in NAMES if not path(name).exists()]
    return f"no {missing[0]}.bt in {FOLDER}: apt-get install bpftrace (0.17)" if missing else ""


def machine(folder: Path) -> Target:
    """This machine, saved, with what the scripts want beside: functions, `avenrun`, and the member that was
    called nr_running up to Linux 6.13."""
    Target.live().save(str(folder))
    known = sorted(frozenset().union(*traceable(Target.live()).values()))
    (folder / "tracefs/available_filter_functions").write_text("\n".join([*known, *FUNCTIONS, ""]))
    with (folder / "kallsyms").open("a") as file:
        file.writelines(f"ffffffffffff{n:04x} T {name}\n" for n, name in enumerate(FUNCTIONS))
        file.write("ffffffffffffff00 B avenrun\n")
    types = folder / "btf/vmlinux"
    types.write_bytes(renamed(types.read_bytes(), b"nr_queued", b"nr_running"))
    return Target.load(str(folder))


def renamed(btf: bytes, name: str | bytes, other: bytes) -> bytes:
    """BTF in which what was called `name` is called `other`, a name that must occur in it already."""
    header, types, types_size, strings, strings_size = struct.unpack_from("<4x5I", btf)
    text = btf[header + strings : header + strings + strings_size]
    old, new = text.find(b"\0%b\0" % name) + 1, text.find(b"\0%b\0" % other) + 1
    if not old:
        return btf
    numbers = list(memoryview(btf[header + types : header + types + types_size]).cast("I"))
    changed = struct.pack(f"<{len(numbers)}I", *(new if number == old else number for number in numbers))
    return btf[: header + types] + changed + btf[header + types + types_size :]
