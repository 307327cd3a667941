"""The parts of pbt.sys that need no kernel feature."""

from __future__ import annotations

import errno
import os

import pytest

from pbt.source import KernelError
from pbt.sys import bpf, mount
from pbt.sys.bpf import native
from pbt.sys.fence import fence
from pbt.sys.hints import hint
from pbt.sys.perf import _flags, _number
from pbt.sys.syscall import Fd
from pbt.uapi import consts


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0-3\n", (0, 1, 2, 3)), ("0", (0,)), ("0-1,4,6-7", (0, 1, 4, 6, 7)), ("\n", ())],
)
def test_lists_of_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert bpf._cpu_list(text) == cpus


def test_names_are_made_acceptable() -> None:
    assert bpf.object_name("@my map[é]") == b"_my_map___"
    assert bpf.object_name("x" * 40) == b"x" * 15


def test_a_descriptor_is_closed_once_and_at_the_latest_when_forgotten() -> None:
    reading, writing = os.pipe()
    with Fd(reading) as fd:
        assert fd.fileno() == reading
    fd.close()
    assert fd.fileno() == -1
    held = Fd(writing)
    assert Fd(held.detach()).fileno() == writing
    with pytest.raises(OSError):
        os.fstat(writing)


def test_fences_can_be_repeated() -> None:
    for _ in range(3):
        fence()


def test_hints_speak_of_this_machine() -> None:
    assert "verifier" in hint(errno.EACCES)
    assert hint(errno.EPERM) and hint(errno.ENOTTY) == ""


def test_paths_of_mounts_are_unescaped() -> None:
    assert mount._unescape(r"/a\040b\134c") == "/a b\\c"
    assert "/proc" in mount.mounts("proc")


def test_ioctl_numbers_are_this_machines() -> None:
    if os.uname().machine == "x86_64":
        assert _number(consts.PERF_EVENT_IOC_SET_BPF) == 0x40042408
    assert _number(consts.PERF_EVENT_IOC_ENABLE) & 0xFFFF == 0x2400


def test_bits_of_perf_events() -> None:
    assert _flags(["disabled"]) in (1, 1 << 63)
    assert bin(_flags(["disabled", "freq", "sigtrap"])).count("1") == 3


def test_instructions_in_this_machines_order() -> None:
    assert len(native(bytes(16))) == 16


def test_a_refusal_is_a_kernel_error_with_its_number() -> None:
    with pytest.raises(KernelError) as refusal:
        bpf.map_lookup(-1, b"", 1)
    assert refusal.value.errno in (errno.EBADF, errno.EPERM)
