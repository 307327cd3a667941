"""The kernels of the lab: Debian packages, downloaded and unpacked, never installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pbt.uapi.features import FEATURES
from tests.lab.machines import OURS, USERLAND

PROJECT = Path(__file__).resolve().parents[2]
PAUSES = (0, 5, 30)  # seconds before each attempt to fetch something


class FetchError(Exception):
    """A kernel, or a program that the lab needs, cannot be had."""


class Kernel(NamedTuple):
    """One kernel: where its packages are.

    `suites`: (suite, mirror path) to search; `packages`: regular expressions, one package each, of
    which the newest version is taken; `keyring`: the file in /usr/share/keyrings that signs them; `machine`:
    the architecture, of machines.MACHINES.
    """

    name: str
    suites: tuple[tuple[str, str], ...]
    packages: tuple[str, ...]
    keyring: str = "debian-archive-keyring.gpg"
    machine: str = "amd64"


_MAIN, _SECURITY = "debian", "debian-security"
# The cloud flavour has no 9p, hence the exact end of each name.
KERNELS = {
    k.name: k
    for k in (
        Kernel("5.10", (("bullseye-security", _SECURITY),), (r"linux-image-5\.10\.0-[0-9]+-amd64",)),
        Kernel(
            "6.1",
            (("bookworm", _MAIN), ("bookworm-security", _SECURITY)),
            (r"linux-image-6\.1\.0-[0-9]+-amd64",),
        ),
        Kernel("6.12", (("bookworm-backports", _MAIN),), (r"linux-image-6\.12\.[^ ]*\+deb12-amd64",)),
        Kernel("6.18", (("trixie-backports", _MAIN),), (r"linux-image-6\.18\.[^ ]*\+deb13-amd64",)),
        Kernel(
            "7",
            (("trixie-backports", _MAIN),),
            tuple(rf"linux-{part}-7\.[0-9.]*\+deb13-amd64" for part in ("base", "binary", "modules")),
        ),
        Kernel(
            "6.1-arm64",
            (("bookworm", _MAIN), ("bookworm-security", _SECURITY)),
            (r"linux-image-6\.1\.0-[0-9]+-arm64",),
            machine="arm64",
        ),
    )
}


_LATER = "the programs in which it is looked for got it later"
_COOKIE = {"get_netns_cookie": _LATER}
LACKS: dict[str, dict[str, str]] = {  # kernel → feature → why it is absent although the release has it
    "5.10": {
        **dict.fromkeys(("d_path", "get_current_ancestor_cgroup_id", "skb_output", "xdp_output"), _LATER),
        "copy_from_user": "only sleepable programs have it, and those of type SYSCALL came later",
        "struct_ops": "the first member of the struct that is tried is no function there",
        **_COOKIE,
    },
    "6.1": {"kprobe_multi": "Debian built it without CONFIG_FPROBE", **_COOKIE},
    "6.12": _COOKIE,
    "6.1-arm64": {
        **dict.fromkeys(
            ("fentry", "fexit", "module_btf", "lsm"), "arm64 attaches no trampolines before Linux 6.4"
        ),
        "kprobe_multi": "Debian built it without CONFIG_FPROBE",
        **_COOKIE,
    },
    "development": {
        **dict.fromkeys(("kprobe_multi", "kprobe_session"), "it was built without CONFIG_KPROBES"),
        **dict.fromkeys(("fentry", "fexit"), "its host forbids trampolines: EPERM"),
        "module_btf": "it was built without modules",
    },
}
RELEASES = {"module_btf": "5.11"}  # features that only the rows ask for


def lacks(kernel: str, feature: str) -> str:
    """Why a kernel has no such feature."""
    release = RELEASES.get(feature) or FEATURES[feature].release
    return LACKS.get(kernel, {}).get(feature) or f"it came with Linux {release}"


def thorough() -> bool:
    """Whether all that the lab can show is wanted, not only the rows of docs/seed.md."""
    return "PBT_LAB_KERNELS" in os.environ


def chosen(names: str | None = None) -> list[str]:
    """Kernels by name, with commas between them, or all; by default what PBT_LAB_KERNELS says, or 6.1 alone."""
    wanted = names or os.environ.get("PBT_LAB_KERNELS") or "6.1"
    found = list(KERNELS) if wanted == "all" else wanted.split(",")
    unknown = [name for name in found if name not in KERNELS]
    if unknown:
        raise SystemExit(f"no kernel {unknown[0]} in the lab: it has {', '.join(KERNELS)}")
    return found


def native(name: str) -> bool:
    """Whether a kernel is for our own architecture; others run the rows alone, they are slower by far."""
    return KERNELS[name].machine == OURS


class Unpacked(NamedTuple):
    """A kernel on disk: the image, the folder that holds `lib/modules`, and its release."""

    image: Path
    root: Path
    release: str


def cache() -> Path:
    """Where downloads and unpacked kernels stay between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pbt" / "lab"


def fetch(name: str) -> Unpacked:
    """The kernel on disk; downloads and unpacks it the first time (60 to 170 MB)."""
    folder = cache() / name
    root = folder / "root"
    if not (folder / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        for package in _download(KERNELS[name], folder, ()):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
            package.unlink()
        (folder / "complete").touch()
    return _find(root)


def userland(kernel: Kernel) -> Path:
    """The root folder of guests of another architecture; downloads and unpacks it the first time (40 MB)."""
    folder = cache() / f"userland-{kernel.machine}"
    root = folder / "root"
    if not (folder / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", "root", "sbin", "var", "usr/bin"):
            (root / name).mkdir(parents=True)
        for package in _download(kernel, folder, USERLAND):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
            package.unlink()
        _complete(root)
        (folder / "complete").touch()
    return root


def _complete(root: Path) -> None:
    """What installation scripts would have done: names of shell and Python, users, the library cache's folder."""
    for name, to in (("bin/sh", "dash"), ("usr/bin/python3", "python3.11")):
        if not (root / name).exists():
            (root / name).symlink_to(to)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n" + "daemon:x:1:1::/:/bin/false\n" * 9)


def _find(root: Path) -> Unpacked:
    """Debian puts modules under lib or usr/lib, and the newest images beside their modules."""
    modules = _first(root / "lib/modules", root / "usr/lib/modules")
    release = sorted(p.name for p in modules.iterdir())[-1]
    if modules.parts[-3:-1] == ("usr", "lib") and not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    image = _first(root / f"boot/vmlinuz-{release}", modules / release / "vmlinuz")
    if not (root / f"lib/modules/{release}/modules.dep").exists():
        subprocess.run(["depmod", "-b", root, release], check=True)
    return Unpacked(image, root, release)


def _first(*paths: Path) -> Path:
    """The first that exists."""
    for path in paths:
        if path.exists():
            return path
    raise FetchError(f"no {paths[0]}: remove {cache()} and try again")


def _download(kernel: Kernel, folder: Path, packages: Sequence[str]) -> list[Path]:
    """The .deb files of the packages, or the kernel's own, through apt with lists and sources of its own."""
    options = _apt_options(kernel, folder)
    for left in folder.glob("*.deb"):  # of a download that was cut short
        left.unlink()
    apt(*options, "-qq", "update")
    names = packages or [_newest(pattern, options) for pattern in kernel.packages]
    apt(*options, "-qq", "download", *names, folder=folder)
    return sorted(folder.glob("*.deb"))


def apt(*words: str, folder: Path | None = None) -> None:
    """Run apt-get, several times if need be: mirrors fail now and then. Raises FetchError with its last words."""
    command, said = ["apt-get", "-o", "Acquire::Retries=3", *words], ""
    for pause in PAUSES:
        time.sleep(pause)
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            said = "no answer within 10 minutes"
            continue
        if done.returncode == 0:
            return
        said = " ".join(done.stderr.split("\n")[-4:]).strip()
    raise FetchError(f"apt-get {words[-1]}: {said}")


def _apt_options(kernel: Kernel, folder: Path) -> list[str]:
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    mirror, signed = (
        _mirror(),
        f"[arch={kernel.machine} check-valid-until=no signed-by=/usr/share/keyrings/{kernel.keyring}]",
    )
    sources.write_text(
        "".join(f"deb {signed} {mirror}/{path} {suite} main\n" for suite, path in kernel.suites)
    )
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "APT::Architecture": kernel.machine,
        "APT::Architectures::": kernel.machine,
    }
    return [item for key, value in settings.items() for item in ("-o", f"{key}={value}")]


def _mirror() -> str:
    """Where this machine gets Debian's packages from, without the path of the archive."""
    if chosen := os.environ.get("PBT_LAB_MIRROR"):
        return chosen.rstrip("/")
    found = _answer(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    archives = [uri.rstrip("/") for uri in found if uri.rstrip("/").endswith("/debian")]
    if not archives:
        raise FetchError("no Debian archive among apt's sources: set PBT_LAB_MIRROR")
    return archives[0].removesuffix("/debian")


def _newest(pattern: str, options: list[str]) -> str:
    """The last name, in version order, that the pattern matches as a whole."""
    found = _answer(["apt-cache", *options, "search", "--names-only", f"^{pattern}$"])
    names = [line.partition(" - ")[0] for line in found if line]
    if not names:
        raise FetchError(f"no package matches {pattern}")
    return max(names, key=lambda name: [int(digits) for digits in re.findall(r"[0-9]+", name)])


def _answer(command: list[str]) -> list[str]:
    """The lines that a command prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.split("\n")
