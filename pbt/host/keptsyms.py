"""The kernel's own symbols as an earlier start read them: making their text takes the kernel longer than most scripts.

They stay as they are from boot to boot: what comes and goes (modules, BPF programs, trampolines) is told by its module
in brackets and not kept. What is kept is believed if it says to be of this boot of this kernel, and if it begins as the
file itself begins for whoever asks: that tells machines that share a folder apart, and whether addresses are shown.
"""

from __future__ import annotations

import os
import zlib

from pbt.host import cache
from pbt.host.situation import BOOT_ID

_COMPARED = 4096  # bytes at the beginning of the file, for which the kernel makes only these lines
_WHOLE, _PART = b"/whole\n", b"/part\n"
_HIDDEN = b"0" * 16


def find(path: str) -> bytes:
    """The lines kept of a file such as /proc/kallsyms, behind one that no symbol looks like; b"" if there are none."""
    data, head = cache.read(_name()), _head()
    if data is None or not data.startswith((head + _WHOLE, head + _PART)):
        return b""
    try:
        with open(path, "rb", buffering=0) as file:
            shown = file.read(_COMPARED)
    except OSError:
        return b""
    shown = shown[: shown.rfind(b"\n") + 1]
    return data if shown and data.startswith(shown, data.find(b"\n") + 1) else b""


def is_whole(kept: bytes) -> bool:
    """Whether what `find` gave are all of the kernel's own symbols, not only the first."""
    return kept[: kept.find(b"\n") + 1].endswith(_WHOLE)


def keep(text: bytes, whole: bool) -> None:
    """Keep the first lines of the file, or `whole`: all of the kernel itself; nothing if their addresses are hidden."""
    if text and not text.startswith(_HIDDEN, text.rfind(b"\n", 0, -1) + 1):
        cache.write(_name(), _head() + (_WHOLE if whole else _PART) + text, large=True)


def _head() -> bytes:
    """The boot and the kernel."""
    about = os.uname()
    try:
        with open(BOOT_ID) as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return f"{boot}/{about.release}/{about.version}/{about.machine}".encode()


def _name() -> str:
    return f"kallsyms-{zlib.crc32(_head()):08x}"
