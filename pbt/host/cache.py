"""Files that pbt keeps for later starts: `$XDG_CACHE_HOME/pbt`, else `~/.cache/pbt`.

What lies there is believed only where nobody but the user can have written it: folder and file are the user's own,
no links, and closed to other writers. A file is replaced at once or not at all, so that any number of
processes may read and write it; one that is damaged counts as none. Where there is no such folder, or the
environment variable PBT_NO_CACHE is set, nothing is kept and nothing is found: everything works without.
"""

from __future__ import annotations

import os
import stat
import zlib
from _thread import get_ident
from contextlib import suppress

_MAGIC = b"\x7fpbt-c1\n"
_HEAD = len(_MAGIC) + 4  # the checksum of what follows, u32, little endian
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking, since a pipe would keep us waiting for its writer.
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
MOST_FILES, MOST_BYTES = 128, 16 << 20  # of one kind; one file mostly has at most an eighth of the bytes


def read(name: str) -> bytes | None:
    """What was last written under a name; None where that is nothing, is damaged, or is not to be trusted."""
    try:
        folder = _open()
        try:
            file = os.open(name, _OLD, dir_fd=folder)
        finally:
            os.close(folder)
        with open(file, "rb", buffering=0) as handle:
            if not _own(os.fstat(file)):
                return None
            head, body = handle.read(_HEAD), handle.readall()
    except OSError:
        return None
    return body if head == _MAGIC + zlib.crc32(body).to_bytes(4, "little") else None


def write(name: str, data: bytes, large: bool = False) -> bool:
    """Keep bytes under a name "KIND-..." in place of what was there; whether that could be done.

    The oldest files of the kind make room for it. `large`: as many bytes as one kind may have.
    """
    if len(data) > MOST_BYTES // (1 if large else 8):
        return False
    try:
        folder = _open(make=True)
    except OSError:
        return False
    half = f"{name}.{os.getpid()}.{get_ident()}.half"
    try:
        with open(os.open(half, _NEW, 0o600, dir_fd=folder), "wb") as file:
            file.write(_MAGIC + zlib.crc32(data).to_bytes(4, "little"))
            file.write(data)
        os.replace(half, name, src_dir_fd=folder, dst_dir_fd=folder)
        _make_room(folder, name.partition("-")[0])
    except OSError:
        _remove(half, folder)
        return False
    finally:
        os.close(folder)
    return True


def forget(name: str) -> None:
    """Remove what is kept under a name, if anything is."""
    try:
        folder = _open()
    except OSError:
        return
    _remove(name, folder)
    os.close(folder)


def _open(make: bool = False) -> int:
    """A descriptor of the folder; OSError where there is none that may be trusted."""
    if os.environ.get("PBT_NO_CACHE"):
        raise PermissionError
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    path = os.path.join(base, "pbt")
    if make and _is_ours(base):
        os.makedirs(path, mode=0o700, exist_ok=True)
    folder = os.open(path, _FOLDER)
    if not _own(os.fstat(folder)):
        os.close(folder)
        raise PermissionError
    return folder


def _is_ours(path: str) -> bool:
    """Whether the nearest folder that is there is the user's own: root leaves nothing in other people's homes."""
    while not os.path.isdir(path) and path != (above := os.path.dirname(os.path.abspath(path))):
        path = above
    return os.stat(path).st_uid == os.geteuid()


def _own(about: os.stat_result) -> bool:
    """Whether it is the user's own file or folder, and nobody else may write to it."""
    plain = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return plain and about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _make_room(folder: int, kind: str) -> None:
    """Remove the oldest files of a kind beyond what may be kept, and what a writer left half done."""
    with os.scandir(folder) as entries:
        found = [(e.stat(follow_symlinks=False), e.name) for e in entries if e.name.startswith(f"{kind}-")]
    found.sort(key=lambda row: row[0].st_mtime_ns, reverse=True)
    size = 0
    for count, (about, name) in enumerate(found, 1):
        size += about.st_size
        if count > MOST_FILES or size > MOST_BYTES:
            _remove(name, folder)


def _remove(name: str, folder: int) -> None:
    with suppress(OSError):  # another process was quicker
        os.unlink(name, dir_fd=folder)
