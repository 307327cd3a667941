"""The machines that QEMU emulates: how each is started, and where its programs come from."""

from __future__ import annotations

import platform
from typing import NamedTuple


class Machine(NamedTuple):
    """One machine, named as Debian names its architecture.

    `qemu` and `package`: the emulator and the Debian package that has it. `options`: what it is told beside
    memory and processors. `console`: the device that the kernel writes to.
    """

    name: str
    qemu: str
    package: str
    options: tuple[str, ...]
    console: str


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("amd64", "qemu-system-x86_64", "qemu-system-x86", ("-cpu", "max"), "ttyS0"),
        Machine(
            "arm64",
            "qemu-system-aarch64",
            "qemu-system-arm",
            ("-machine", "virt", "-cpu", "cortex-a72"),
            "ttyAMA0",
        ),
    )
}

OURS = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""The architecture of the machine that we run on, whose own files its guests use."""

USERLAND = (
    "busybox-static", "coreutils", "dash", "libacl1", "libattr1", "libbz2-1.0", "libc6", "libcrypt1", "libexpat1",
    "libffi8", "libgcc-s1", "libgmp10", "liblzma5", "libpcre2-8-0", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libselinux1", "libssl3", "libstdc++6", "libtinfo6", "libuuid1", "python3.11", "python3.11-minimal", "zlib1g",
)  # fmt: skip
"""Packages of which guests of another architecture make a root: enough for a shell and Python."""
