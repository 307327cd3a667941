"""The machine that programs are compiled for: the one we run on, or one saved in a folder (see `saved`).

Everything is found out when first asked for and kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property

from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.arch import Arch
    from pbt.host.btf import Btf
    from pbt.host.btfindex import Data
    from pbt.host.kallsyms import Kallsyms
    from pbt.host.probe import Features
    from pbt.host.programs import LoadedProgram
    from pbt.host.tracefs import Tracefs
    from pbt.sys.ksym import Namer

_BTF_FOLDER = "/sys/kernel/btf"
_BTF_HINT = (
    "name a file like /sys/kernel/btf/vmlinux, or an ELF file with a section .BTF, in --btf or BPFTRACE_BTF"
)
_ELF = b"\x7fELF"
_NAMING = {"snprintf", "syscall_prog"}  # features that naming addresses takes
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


class Target:
    """What the compiler may ask about a machine; `Target.live()` and `Target.load()` make one."""

    without: frozenset[str] = frozenset()
    """Features that count as missing, whatever the kernel says (`--no-feature`)."""
    traceable: str = ""
    """A file in the place of ftrace's list of functions that can be traced (`--traceable-functions`)."""

    @staticmethod
    def live() -> Target:
        """The machine we run on. Costs nothing until it is asked something."""
        return _Live()

    @staticmethod
    def load(folder: str) -> Target:
        """The machine saved in a folder; UsageError when the folder does not hold one."""
        from pbt.host.saved import Saved

        return Saved(folder)

    @property
    def release(self) -> str:
        """The kernel's release, as `uname -r` says it."""
        raise NotImplementedError

    @property
    def version(self) -> tuple[int, int, int]:
        """The first three numbers of the release, missing ones 0: for display and for kern_version."""
        numbers = [*_leading_numbers(self.release), 0, 0, 0]
        return numbers[0], numbers[1], numbers[2]

    @property
    def arch(self) -> Arch:
        """The table of the machine's processor."""
        raise NotImplementedError

    @property
    def page_size(self) -> int:
        """Bytes in a page of memory."""
        raise NotImplementedError

    @property
    def cpus(self) -> tuple[int, ...]:
        """Numbers of the possible CPUs: so many values has an element of a per-CPU map."""
        raise NotImplementedError

    @property
    def online(self) -> tuple[int, ...]:
        """Numbers of the CPUs that run."""
        raise NotImplementedError

    @property
    def pid_namespace(self) -> tuple[int, int] | None:
        """Device and inode of our PID namespace when it is not the machine's first one."""
        return None

    @property
    def types(self) -> Btf | None:
        """The kernel's BTF; None when it has none, or BPFTRACE_BTF names a file that does not exist."""
        raise NotImplementedError

    @property
    def types_are_its_own(self) -> bool:
        """Whether `types` are what the kernel's verifier goes by, not those of a file that a user named instead."""
        return True

    @property
    def has_types(self) -> bool:
        """Whether `types` is not None, which is known without reading any."""
        return self.types is not None

    def modules(self) -> tuple[str, ...]:
        """Names of the kernel modules that have BTF, sorted."""
        try:
            return tuple(sorted(name for name in os.listdir(self._btf_folder) if name != "vmlinux"))
        except OSError:
            return ()

    def module_types(self, name: str) -> Btf | None:
        """BTF of one kernel module, which continues `types`; None when there is none."""
        if name not in self._modules:
            known = self.types is not None and name in self.modules()
            self._modules[name] = btf_of(f"{self._btf_folder}/{name}", self.types) if known else None
        return self._modules[name]

    @cached_property
    def _modules(self) -> dict[str, Btf | None]:
        return {}

    @property
    def programs(self) -> tuple[LoadedProgram, ...]:
        """BPF programs that are loaded now and have types; none on a saved machine."""
        return ()

    @property
    def _btf_folder(self) -> str:
        raise NotImplementedError

    @property
    def tracefs(self) -> Tracefs:
        """Tracepoints and traceable functions; UsageError saying what to do when they cannot be had."""
        raise NotImplementedError

    @property
    def kallsyms(self) -> Kallsyms:
        """The kernel's symbols; empty when unreadable."""
        raise NotImplementedError

    def keep(self) -> None:
        """Keep for later starts what was read and stays as it is."""

    def has(self, feature: str) -> bool:
        """Whether the kernel has a feature, named as in pbt/uapi/features.py."""
        raise NotImplementedError

    def features(self) -> frozenset[str]:
        """All features that the kernel has. On a live target this tries each one."""
        raise NotImplementedError

    def save(
        self, folder: str, events: Iterable[str] = ("*:*",), types: bool = True, symbols: bool = True
    ) -> None:
        """Write the target into a folder, which is made if need be.

        `events`: patterns "category:event" of the tracepoints to keep. UsageError when the folder
        cannot be written or the machine not be read.
        """
        from pbt.host.saved import save

        save(self, folder, events, types, symbols)


class _Live(Target):
    @cached_property
    def release(self) -> str:
        return os.uname().release

    @cached_property
    def arch(self) -> Arch:
        from pbt.arch import native

        return native()

    @cached_property
    def page_size(self) -> int:
        return os.sysconf("SC_PAGE_SIZE")

    @cached_property
    def cpus(self) -> tuple[int, ...]:
        from pbt.sys.bpf import possible_cpus

        return possible_cpus()

    @cached_property
    def online(self) -> tuple[int, ...]:
        from pbt.sys.bpf import online_cpus

        return online_cpus()

    @property
    def pid_namespace(self) -> tuple[int, int] | None:
        try:
            found = os.stat("/proc/self/ns/pid")
        except OSError:
            return None
        return None if found.st_ino == _FIRST_PID_NAMESPACE else (found.st_dev, found.st_ino)

    @property
    def has_types(self) -> bool:
        return _readable(_btf_path())

    @cached_property
    def types(self) -> Btf | None:
        return btf_of(_btf_path())

    @cached_property
    def programs(self) -> tuple[LoadedProgram, ...]:
        from pbt.host.programs import loaded

        return loaded()

    @property
    def _btf_folder(self) -> str:
        return _BTF_FOLDER

    @cached_property
    def tracefs(self) -> Tracefs:
        from pbt.host.tracefs import Tracefs
        from pbt.sys.mount import tracefs

        return Tracefs(tracefs(), self.traceable)

    @cached_property
    def kallsyms(self) -> Kallsyms:
        from pbt.host.kallsyms import Kallsyms

        return Kallsyms(keeps=True, namer=None if self.without & _NAMING else _namer)

    def keep(self) -> None:
        if "kallsyms" in self.__dict__:
            self.kallsyms.keep()

    @cached_property
    def _features(self) -> Features:
        from pbt.host.probe import Features

        return Features(lambda: self._own_types)

    @property
    def types_are_its_own(self) -> bool:
        return "BPFTRACE_BTF" not in os.environ

    @cached_property
    def _own_types(self) -> Btf | None:
        """The running kernel's own BTF, whose ids it accepts, also when another is compiled against."""
        return btf_of(f"{_BTF_FOLDER}/vmlinux") if "BPFTRACE_BTF" in os.environ else self.types

    def has(self, feature: str) -> bool:
        return feature not in self.without and self._features.has(feature)

    def features(self) -> frozenset[str]:
        return self._features.all() - self.without


def _namer() -> Namer:
    from pbt.sys.ksym import Namer

    return Namer()


def _btf_path() -> str:
    return os.environ.get("BPFTRACE_BTF", f"{_BTF_FOLDER}/vmlinux")


def _readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def btf_of(path: str, base: Btf | None = None) -> Btf | None:
    """BTF from a file, read when first needed; None when there is no file that may be read."""
    if not _readable(path):
        return None
    unread: Any = _Unread(path, base)
    return unread  # type: ignore[no-any-return]


class _Unread:
    """The BTF of a file, whose reader is imported when the first question comes: many scripts have none."""

    def __init__(self, path: str, base: Btf | None) -> None:
        self._path, self._base = path, base

    @cached_property
    def _btf(self) -> Btf:
        from pbt.host.btf import Btf

        return Btf(lambda: _btf_bytes(self._path), self._base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._btf, name)


def _btf_bytes(path: str) -> Data:
    """A file's bytes if they are BTF, or those of section .BTF of an ELF file. UsageError with the file's name."""
    from pbt.host.btfindex import check, contents

    try:
        data = contents(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", _BTF_HINT) from None
    try:
        if data[:4] == _ELF:
            data = _btf_section(path)
        check(data)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", _BTF_HINT) from None
    return data


def _btf_section(path: str) -> bytes:
    from pbt.host.elf import Elf

    elf = Elf(path)
    section = elf.section(".BTF")
    if section is None:
        raise UsageError("this ELF file has no section .BTF")
    return elf.read(section)


def misnamed_btf() -> str:
    """What to say of a BPFTRACE_BTF that names no file; "" if it names one, or is not set."""
    path = os.environ.get("BPFTRACE_BTF", "")
    return (
        f"{path}, which BPFTRACE_BTF names, is no file that can be read"
        if path and not _readable(path)
        else ""
    )


def check_btf(path: str) -> None:
    """UsageError unless a file holds whole BTF: by itself, or as an ELF file's section."""
    _btf_bytes(path)


def has_btf(path: str) -> bool:
    """Whether a file is BTF, or an ELF file with some, be it damaged or not."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        return start[:2] in (b"\x9f\xeb", b"\xeb\x9f") or (start == _ELF and bool(_btf_section(path)))
    except (OSError, ValueError, UsageError):
        return False


def _leading_numbers(release: str) -> list[int]:
    """ "6.18.44-amd64" → [6, 18, 44]."""
    numbers = []
    for part in release.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            numbers.append(int(digits))
        if digits != part:
            break
    return numbers
