"""Boots a kernel of the lab in QEMU, without KVM, and runs commands in it.

The guest sees the host's root read-only under a memory overlay, so whatever runs here runs there:
the interpreter of the tests, its packages, this tree. Emulation is 10 to 30 times slower than the
machine itself, so one guest runs many commands.
"""

from __future__ import annotations

import json
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.lab import kernels
from tests.lab.kernels import PROJECT
from tests.lab.machines import MACHINES, OURS, Machine

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
TOOLS = (  # command, the Debian package that has it
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
)
MEMORY = 3072  # MiB
PYTHON = "/usr/bin/python3"  # of guests with a root of their own


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
    """What came of a command; `code` is None when it was killed, `ready` the seconds until `load`."""

    code: int | None
    stdout: str
    stderr: str
    ready: float
    seconds: float


class LabError(Exception):
    """The guest did not start, or ended before its commands did: the message has its console."""


INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules/order); do insmod /modules/$module || echo "insmod $module failed"; done
options=trans=virtio,version=9p2000.L,msize=1048576
mount -t 9p -o $options,ro,cache=loose hostroot /host || echo "no hostroot"
lower=/host
if mount -t 9p -o $options,ro,cache=loose userland /userland; then lower=/userland; fi 2>/dev/null
mount -t tmpfs tmpfs /top
mkdir /top/upper /top/work
mount -t overlay -o lowerdir=$lower,upperdir=/top/upper,workdir=/top/work overlay /new || echo "no overlay"
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs devtmpfs /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/run/lab
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tracefs tracefs /new/sys/kernel/tracing
mount -t debugfs debugfs /new/sys/kernel/debug
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t 9p -o $options,cache=none share /new/run/lab || echo "no share"
for path in $(cat /modules/bound); do
    if [ $lower = /userland ]; then mkdir -p /new$path; mount --bind /host$path /new$path; fi
done
ip link set lo up
chroot /new /bin/sh /run/lab/start </dev/null
sync
poweroff -f
"""


def install_tools(machine: Machine) -> None:
    """Install with apt whichever of QEMU, busybox, cpio and kmod is missing."""
    wanted = (*TOOLS, (machine.qemu, machine.package))
    missing = [package for command, package in wanted if shutil.which(command) is None]
    if missing:
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)


def unavailable(name: str) -> str:
    """Why a kernel cannot be booted here; "" if it can. The first time, this installs and downloads."""
    if os.geteuid() != 0:
        return "the lab of kernels needs root, to install QEMU and to read what the guest shall see"
    try:
        kernel = kernels.KERNELS[name]
        install_tools(MACHINES[kernel.machine])
        kernels.fetch(name)
        if kernel.machine != OURS:
            kernels.userland(kernel)
    except (subprocess.CalledProcessError, OSError, AssertionError, StopIteration) as error:
        return f"no kernel {name} or no QEMU to boot it: {error}"
    return ""


def _initramfs(kernel: kernels.Unpacked, busybox: str) -> Path:
    """busybox, the modules that reach the host's files, and INIT; remade when INIT changes."""
    made = kernels.cache() / f"initramfs-{kernel.release}.cpio"
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for folder in ("bin", "dev", "proc", "host", "userland", "top", "new", "modules"):
            (top / folder).mkdir()
        shutil.copy(busybox, top / "bin/busybox")
        order = [_unpack(Path(path), top / "modules") for path in _modules(kernel)]
        (top / "modules/order").write_text("\n".join(order) + "\n")
        (top / "modules/bound").write_text("".join(f"{path}\n" for path in _bound()))
        (top / "init").write_text(INIT)
        (top / "init").chmod(0o755)
        files = "\n".join(str(path.relative_to(top)) for path in sorted(top.rglob("*")))
        with made.open("wb") as out:
            subprocess.run(
                ["cpio", "-o", "-H", "newc", "--quiet"], cwd=top, input=files.encode(), stdout=out, check=True
            )
    return made


def _modules(kernel: kernels.Unpacked) -> list[str]:
    """Paths of MODULES and what they need, in the order of loading; built-in ones have no path."""
    command = ["modprobe", "-d", str(kernel.root), "-S", kernel.release, "--show-depends", "-a", *MODULES]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    paths = [line.split()[1] for line in lines if line.startswith("insmod ")]
    return list(dict.fromkeys(paths))


def _unpack(module: Path, folder: Path) -> str:
    """Copy a module, decompressed; its name there."""
    name = module.name.removesuffix(".xz")
    data = module.read_bytes()
    (folder / name).write_bytes(lzma.decompress(data) if module.suffix == ".xz" else data)
    return name


def _bound() -> list[str]:
    """What guests with a root of their own see of ours, at the same place: this tree, and Python's packages."""
    return [str(PROJECT), sysconfig.get_path("purelib")]


def _start_script(python: str) -> str:
    """What the guest runs in its root: guest.py, by the interpreter of the tests or its own."""
    bound = [] if python == sys.executable else _bound()
    path = os.pathsep.join(filter(None, (str(PROJECT), *bound, os.environ.get("PYTHONPATH", ""))))
    settings = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/root",
        "LANG": "C.UTF-8",
    }
    lines = [f"export {key}={shlex.quote(value)}" for key, value in settings.items()]
    lines += [
        f"cd {shlex.quote(str(PROJECT))}",
        shlex.join(["exec", python, "-S", str(Path(__file__).parent / "guest.py"), "/run/lab"]),
    ]
    return "\n".join(lines) + "\n"


def _qemu(machine: Machine, image: Path, initramfs: Path, folders: Mapping[str, str]) -> list[str]:
    """`folders`: the guest's name → a folder here; all but "share" may only be read."""
    command = [machine.qemu, "-accel", "tcg,thread=multi", *machine.options, "-smp", "2", "-m", str(MEMORY)]
    command += ["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]
    command += ["-kernel", str(image), "-initrd", str(initramfs)]
    command += ["-append", f"console={machine.console} quiet panic=-1"]
    for tag, path in folders.items():
        ending = "" if tag == "share" else ",readonly=on"
        command += [
            "-virtfs",
            f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{ending}",
        ]
    return command


def run(
    name: str,
    commands: Sequence[Command],
    timeout: float | None = None,
    files: Mapping[str, str] | None = None,
) -> list[Result]:
    """Boot kernel `name` of `kernels.KERNELS` once and run the commands in it, one after another.

    `timeout`: seconds for everything. `files`: texts that the guest finds under /run/lab.
    Raises LabError when a command has no result.
    """
    machine = MACHINES[kernels.KERNELS[name].machine]
    install_tools(machine)
    kernel = kernels.fetch(name)
    root = "/" if machine.name == OURS else str(kernels.userland(kernels.KERNELS[name]))
    python, busybox = (
        (sys.executable, shutil.which("busybox")) if root == "/" else (PYTHON, f"{root}/bin/busybox")
    )
    assert busybox
    initramfs = _initramfs(kernel, busybox)
    limit = timeout or 60 + sum(command.timeout for command in commands)
    with tempfile.TemporaryDirectory(prefix="lab") as folder:
        share = Path(folder)
        (share / "start").write_text(_start_script(python))
        asked = [command._replace(argv=_argv(command, python))._asdict() for command in commands]
        (share / "commands.json").write_text(json.dumps(asked))
        for path, text in (files or {}).items():
            (share / path).write_text(text, encoding="utf-8")
        with (share / "console").open("wb") as console:
            folders = {"hostroot": "/", "share": str(share)} | ({} if root == "/" else {"userland": root})
            command = _qemu(machine, kernel.image, initramfs, folders)
            with suppress(subprocess.TimeoutExpired):  # _result says which command was last
                subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=limit
                )
        return [_result(share, index) for index in range(len(commands))]


def _argv(command: Command, python: str) -> list[str]:
    """The interpreter of the tests means the guest's."""
    return [python if word == sys.executable else word for word in command.argv]


def _result(share: Path, index: int) -> Result:
    try:
        return Result(**json.loads((share / f"{index}.json").read_text()))
    except FileNotFoundError:
        console = (share / "console").read_text(errors="replace")[-3000:]
        raise LabError(f"command {index} has no result; the guest's console:\n{console}") from None
