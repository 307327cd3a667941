"""How a kernel of the lab is started in QEMU, without KVM.

The guest sees the host's root read-only under a memory overlay, so whatever runs here runs there:
the interpreter of the tests, its packages, this tree.
"""

from __future__ import annotations

import compileall
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

from tests.lab import kernels
from tests.lab.kernels import PROJECT
from tests.lab.machines import MACHINES, OURS, Machine

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
TOOLS = (  # command, the Debian package that has it
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("setpriv", "util-linux"),
)
MEMORY = 3072  # MiB
PROCESSORS = int(os.environ.get("PBT_LAB_PROCESSORS", "1"))
"""Kernels change their own text for kprobes, trampolines and static keys, and emulated processors that run at
the same time now and then trip over it: hence one, and with more of them one at a time (thread=single)."""
WORDS = "quiet panic=-1 oops=panic softlockup_panic=1 watchdog_thresh=30"
"""The kernel's command line: whatever goes wrong ends QEMU at once (-no-reboot)."""
PYTHON = "/usr/bin/python3"  # of guests with a root of their own


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


def at_a_time() -> int:
    """How many guests may run at the same time: one for each processor, as far as memory reaches."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return max(1, min(len(os.sched_getaffinity(0)) // PROCESSORS, memory // (MEMORY + 1024)))


def install_tools(machine: Machine) -> None:
    """Install with apt whichever of QEMU, busybox, cpio and kmod is missing."""
    wanted = (*TOOLS, (machine.qemu, machine.package))
    missing = [package for command, package in wanted if shutil.which(command) is None]
    if missing:
        kernels.apt("install", "-y", "-qq", "--no-install-recommends", *missing)


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
    except (kernels.FetchError, subprocess.CalledProcessError, OSError) as error:
        return f"no kernel {name} or no QEMU to boot it: {error}"
    return ""


def _initramfs(kernel: kernels.Unpacked, busybox: str, share: Path) -> Path:
    """busybox, the modules that reach the host's files, and INIT."""
    made = share / "initramfs"
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
        command = ["cpio", "-o", "-H", "newc", "--quiet"]
        with made.open("wb") as out:
            subprocess.run(command, cwd=top, input=files.encode(), stdout=out, check=True)
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
    if not bound:  # what they do at every start of Python takes seconds here, and PYTHONPATH says it all
        lines.append(f"rm -f {shlex.quote(sysconfig.get_path('purelib'))}/*.pth")
    lines += [
        f"cd {shlex.quote(str(PROJECT))}",
        shlex.join(["exec", python, "-S", str(Path(__file__).parent / "guest.py"), "/run/lab"]),
    ]
    return "\n".join(lines) + "\n"


def start(name: str, share: Path, console: IO[bytes]) -> subprocess.Popen[bytes]:
    """QEMU with kernel `name` of `kernels.KERNELS`, in which guest.py serves the folder `share`.

    It dies with the thread that starts it. What the guest prints goes to `console`.
    """
    kernel, machine = kernels.fetch(name), MACHINES[kernels.KERNELS[name].machine]
    install_tools(machine)
    _compile()
    folders = {"hostroot": "/", "share": str(share)}
    busybox = shutil.which("busybox")
    if machine.name != OURS:
        folders["userland"] = str(kernels.userland(kernels.KERNELS[name]))
        busybox = f"{folders['userland']}/bin/busybox"
    assert busybox
    (share / "start").write_text(_start_script(interpreter(name)))
    initramfs = _initramfs(kernel, busybox, share)
    command = ["setpriv", "--pdeathsig", "KILL", *_qemu(machine, kernel.image, initramfs, folders)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)


def interpreter(name: str) -> str:
    """Python in the guest: that of the tests, or of the guest's own root."""
    return sys.executable if kernels.native(name) else PYTHON


@cache
def _compile() -> None:
    """Compile all modules of this tree: guests see it read-only, and would do it anew in each process."""
    for folder in ("pbt", "tests"):
        compileall.compile_dir(PROJECT / folder, quiet=2)


def _qemu(machine: Machine, image: Path, initramfs: Path, folders: Mapping[str, str]) -> list[str]:
    """`folders`: the guest's name → a folder here; all but "share" may only be read."""
    command = [machine.qemu, "-accel", "tcg,thread=single", *machine.options]
    command += ["-smp", str(PROCESSORS), "-m", str(MEMORY)]
    command += ["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]
    command += ["-kernel", str(image), "-initrd", str(initramfs)]
    command += ["-append", f"console={machine.console} {WORDS}"]
    for tag, path in folders.items():
        ending = "" if tag == "share" else ",readonly=on"
        command += [
            "-virtfs",
            f"local,path={path},mount_tag={tag},security_model=none,multidevs=remap{ending}",
        ]
    return command
