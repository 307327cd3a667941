"""The bpf() system call: attributes in, file descriptors and bytes out; `KernelError` if refused."""

from __future__ import annotations

import ctypes
import errno
import struct
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache

from pbt.data import NamedTuple
from pbt.source import KernelError
from pbt.sys.hints import hint, refused_helper
from pbt.sys.syscall import Fd, call, repeated
from pbt.typing import TYPE_CHECKING
from pbt.uapi import structs
from pbt.uapi.consts import ATTACH_TYPE, CMD, MAP_TYPE, PROG_TYPE

if TYPE_CHECKING:
    from ctypes import Structure

__all__ = ["Fd"]

_LOG_SIZES = (1 << 16, 1 << 20, 1 << 24)  # the kernel takes at most 16 MiB of log (UINT_MAX >> 8)
_SUMMARY = 4  # BPF_LOG_STATS: no line for each of a million instructions, which takes most of the time
_RETRIES = 5  # PROG_LOAD answers EAGAIN when a signal interrupts the verifier


def ask(name: str, attr: Structure) -> int:
    """The result of bpf() for a command of enum bpf_cmd, or minus errno."""
    return call("bpf", CMD[name], ctypes.byref(attr), ctypes.sizeof(attr))


def checked(result: int, what: str) -> int:
    """The result, unless it is minus errno: then a KernelError that says what was not possible."""
    if result < 0:
        raise KernelError(what, -result, hint(-result))
    return result


def copied(data: bytes) -> ctypes.Array[ctypes.c_char]:
    """A copy of bytes for the kernel to read; whoever passes its address keeps it."""
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    """Where a buffer lies, 0 if there is none or nothing in it."""
    return ctypes.addressof(buffer) if buffer is not None and len(buffer) else 0


def object_name(name: str) -> bytes:
    """A name that the kernel accepts for a map or program: at most 15 of [A-Za-z0-9_.]."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)[:15].encode()


# --- CPUs ------------------------------------------------------------------------------------


def _cpu_list(text: str) -> tuple[int, ...]:
    """A list of ranges as the kernel writes them ("0-3,5") → numbers."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def _cpus(kind: str) -> tuple[int, ...]:
    path = f"/sys/devices/system/cpu/{kind}"
    try:
        with open(path) as file:
            return _cpu_list(file.read())
    except OSError as error:
        raise KernelError(f"cannot read {path}", error.errno or 0, "mount -t sysfs sysfs /sys") from error


@lru_cache(maxsize=1)
def possible_cpus() -> tuple[int, ...]:
    """CPUs that may ever be there: per-CPU maps have one value for each. They never change."""
    return _cpus("possible")


def online_cpus() -> tuple[int, ...]:
    """CPUs that run now."""
    return _cpus("online")


def percpu_size(value_size: int) -> int:
    """Bytes of a whole value of a per-CPU map, as lookups return it: each CPU's, rounded up to 8."""
    return (value_size + 7) // 8 * 8 * len(possible_cpus())


# --- maps ------------------------------------------------------------------------------------


def map_create(
    map_type: str,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    name: str = "",
    *,
    inner_map_fd: int = 0,
    map_extra: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
) -> Fd:
    """A new map; sizes in bytes, `max_entries` in bytes for ring buffers. Names of MAP_TYPE."""
    attr = structs.MapCreate(
        map_type=MAP_TYPE[map_type], key_size=key_size, value_size=value_size, max_entries=max_entries,
        map_flags=flags, inner_map_fd=inner_map_fd, map_name=object_name(name), map_extra=map_extra,
        btf_fd=btf_fd, btf_key_type_id=btf_key_type_id, btf_value_type_id=btf_value_type_id,
    )  # fmt: skip
    result = ask("MAP_CREATE", attr)
    if result == -errno.EPERM and _raise_memlock():
        result = ask("MAP_CREATE", attr)
    return Fd(checked(result, f"cannot create a map of type {map_type}" + (f" ({name})" if name else "")))


def _raise_memlock() -> bool:
    """Lift the limit on locked memory, which bounded maps before Linux 5.11; whether that worked."""
    import os
    import resource

    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 11):
        return False
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


def _elem(
    command: str, fd: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None, flags: int = 0
) -> int:
    buffer = copied(key)
    return ask(command, structs.MapElem(fd, address(buffer), address(value), flags))


def map_lookup(fd: int, key: bytes, value_size: int, flags: int = 0) -> bytes | None:
    """The value of a key, or None; `value_size` is that of `percpu_size` for per-CPU maps."""
    value = ctypes.create_string_buffer(value_size)
    result = _elem("MAP_LOOKUP_ELEM", fd, key, value, flags)
    return None if result == -errno.ENOENT else (checked(result, "cannot read a map"), value.raw)[1]


def map_reader(fd: int, key_size: int, value_size: int) -> Callable[[bytes], bytes | None]:
    """`map_lookup` for many keys of one map, in memory that is made once."""
    key, value = ctypes.create_string_buffer(key_size), ctypes.create_string_buffer(value_size)
    attr = structs.MapElem(fd, address(key), address(value), 0)
    look = repeated("bpf", CMD["MAP_LOOKUP_ELEM"], ctypes.byref(attr), ctypes.sizeof(attr))

    def read(wanted: bytes) -> bytes | None:
        key.raw = wanted
        result = look()
        return None if result == -errno.ENOENT else (checked(result, "cannot read a map"), value.raw)[1]

    return read


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> None:
    """Set the value of a key. `flags`: BPF_ANY, BPF_NOEXIST (else EEXIST), BPF_EXIST (else ENOENT)."""
    checked(_elem("MAP_UPDATE_ELEM", fd, key, copied(value), flags), "cannot write to a map")


def map_delete(fd: int, key: bytes) -> bool:
    """Remove a key; whether it was there."""
    result = _elem("MAP_DELETE_ELEM", fd, key, None)
    return result != -errno.ENOENT and checked(result, "cannot delete from a map") >= 0


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key` (the first one for None, and for a key that is gone), or None at the end."""
    following, buffer = ctypes.create_string_buffer(key_size), None if key is None else copied(key)
    attr = structs.MapElem(fd, address(buffer), address(following))
    result = ask("MAP_GET_NEXT_KEY", attr)
    return None if result == -errno.ENOENT else (checked(result, "cannot walk a map"), following.raw)[1]


def map_keys(fd: int, key_size: int) -> Iterator[bytes]:
    """Keys of a map, each once, also while programs change it."""
    seen: set[bytes] = set()
    key = map_next_key(fd, None, key_size)
    while key is not None and key not in seen:
        seen.add(key)
        yield key
        key = map_next_key(fd, key, key_size)


def map_items(fd: int, key_size: int, value_size: int) -> list[tuple[bytes, bytes]]:
    """All keys and values; `value_size` is that of `percpu_size` for per-CPU maps."""
    keys, values = map_blocks(fd, key_size, value_size)
    return list(zip(_pieces(keys, key_size), _pieces(values, value_size), strict=True))


def map_blocks(fd: int, key_size: int, value_size: int) -> tuple[bytes, bytes]:
    """All keys one after another, and all values."""
    found = map_batch(fd, key_size, value_size)
    if found is not None:
        return found
    looked = ((key, map_lookup(fd, key, value_size)) for key in map_keys(fd, key_size))
    pairs = [(key, value) for key, value in looked if value is not None]
    return b"".join([key for key, _ in pairs]), b"".join([value for _, value in pairs])


def map_batch(
    fd: int, key_size: int, value_size: int, command: str = "MAP_LOOKUP_BATCH"
) -> tuple[bytes, bytes] | None:
    """`map_blocks` by MAP_LOOKUP_BATCH (Linux 5.6; per-CPU arrays 5.13) or the like; None if it cannot be had."""
    room = max(64, min(16384, (4 << 20) // (key_size + value_size)))
    token = ctypes.create_string_buffer(max(4, key_size))
    keys, values = _rooms(room, key_size, value_size)
    attr = structs.MapBatch(0, address(token), address(keys), address(values), room, fd)
    found: list[tuple[bytes, bytes]] = []
    while True:
        result = ask(command, attr)
        if result == -errno.ENOSPC and room < 1 << 22:  # one bucket holds more than fits
            room *= 4
            keys, values = _rooms(room, key_size, value_size)
            attr.keys, attr.values, attr.count = address(keys), address(values), room
            continue
        if result not in (0, -errno.ENOENT):
            return None
        got = attr.count
        found.append(
            (bytes(memoryview(keys)[: got * key_size]), bytes(memoryview(values)[: got * value_size]))
        )
        if result == -errno.ENOENT:
            return b"".join([key for key, _ in found]), b"".join([value for _, value in found])
        attr.in_batch, attr.count = attr.out_batch, room


def _rooms(room: int, *sizes: int) -> list[ctypes.Array[ctypes.c_char]]:
    return [ctypes.create_string_buffer(room * size) for size in sizes]


def _pieces(block: bytes, size: int) -> list[bytes]:
    return [piece for (piece,) in struct.iter_unpack(f"{size}s", block)]


def map_clear(fd: int, key_size: int, value_size: int) -> None:
    """Delete every key that is there now. Arrays have no deletion: write zeros instead."""
    if map_batch(fd, key_size, value_size, "MAP_LOOKUP_AND_DELETE_BATCH") is None:
        for key in list(map_keys(fd, key_size)):
            map_delete(fd, key)


def map_freeze(fd: int) -> None:
    """Forbid user space to write to the map from now on."""
    checked(ask("MAP_FREEZE", structs.MapElem(fd)), "cannot freeze a map")


# --- programs --------------------------------------------------------------------------------


def native(insns: bytes) -> bytes:
    """Little-endian instructions in this machine's byte order."""
    if sys.byteorder == "little":
        return insns
    slots = struct.iter_unpack("<BBhi", insns)
    return b"".join(struct.pack(">BBhi", c, r >> 4 | r << 4 & 0xF0, o, i) for c, r, o, i in slots)


def prog_load(
    prog_type: str,
    insns: bytes,
    *,
    license: str = "GPL",
    name: str = "",
    expected_attach_type: str = "",
    attach_btf_id: int = 0,
    attach_btf_obj_fd: int = 0,
    log_level: int = 0,
    kern_version: int = 0,
    flags: int = 0,
    prog_btf_fd: int = 0,
    func_info: bytes = b"",
    line_info: bytes = b"",
    log: Callable[[str], None] | None = None,
) -> Fd:
    """Load a program; names of PROG_TYPE and ATTACH_TYPE, instructions in this machine's byte order.

    A refusal is a KernelError with the verifier's log: a program that does not load is loaded once
    more to get it. With `log_level` the log is made in any case and handed to `log`.
    `func_info` and `line_info`: records of 8 and 16 bytes (struct bpf_func_info, bpf_line_info).
    """
    code, words, functions, lines = map(copied, (insns, license.encode() + b"\0", func_info, line_info))
    attr = structs.ProgLoad(
        prog_type=PROG_TYPE[prog_type], insn_cnt=len(insns) // 8, insns=address(code),
        license=address(words), kern_version=kern_version, prog_flags=flags,
        prog_name=object_name(name), prog_btf_fd=prog_btf_fd, attach_btf_id=attach_btf_id,
        expected_attach_type=ATTACH_TYPE[expected_attach_type] if expected_attach_type else 0,
        attach_btf_obj_fd=attach_btf_obj_fd, func_info=address(functions),
        func_info_cnt=len(func_info) // 8, func_info_rec_size=8 if func_info else 0,
        line_info=address(lines), line_info_cnt=len(line_info) // 16,
        line_info_rec_size=16 if line_info else 0,
    )  # fmt: skip
    result = -errno.EAGAIN if log_level else _load(attr)
    if log_level or result < 0:
        refusal = result
        result, text = _load_logged(attr, log_level or (_SUMMARY if refusal == -errno.E2BIG else 1))
        if log is not None:
            log(text)
        if result < 0:
            code_ = -(result if log_level or result != -errno.ENOSPC else refusal)
            what = f"cannot load a program of type {prog_type}" + (f" ({name})" if name else "")
            raise KernelError(what, code_, _load_hint(code_, text), text)
    return Fd(result)


def _load(attr: structs.ProgLoad) -> int:
    result = -errno.EAGAIN
    for _ in range(_RETRIES):
        result = ask("PROG_LOAD", attr)
        if result != -errno.EAGAIN:
            break
    return result


def _load_logged(attr: structs.ProgLoad, level: int) -> tuple[int, str]:
    """Load with a log, in a larger buffer as long as it does not fit; the result and the log."""
    result, text = -errno.ENOSPC, b""
    for size in _LOG_SIZES:
        buffer = ctypes.create_string_buffer(size)
        attr.log_level, attr.log_size, attr.log_buf = level, size, ctypes.addressof(buffer)
        result, text = _load(attr), buffer.value
        if result != -errno.ENOSPC:
            break
    return result, text.decode(errors="replace")


def _load_hint(number: int, log: str) -> str:
    if number == errno.E2BIG and "Processed" in log:
        return (
            "the verifier walks at most a million instructions: fewer rounds, fewer branches inside of loops"
        )
    if number in (errno.EACCES, errno.EINVAL, errno.E2BIG) and log.strip():
        return refused_helper(log)
    if number == errno.EACCES:
        return "the kernel refused without a word from its verifier: a security policy may forbid this"
    return hint(number)


class TestRun(NamedTuple):
    """What PROG_TEST_RUN gives: the program's return value (u32), its mean time in nanoseconds, the
    packet and the context after it."""

    retval: int
    duration: int
    data: bytes
    ctx: bytes


def prog_test_run(
    fd: int, data: bytes = b"", ctx: bytes = b"", repeat: int = 1, flags: int = 0, cpu: int = 0
) -> TestRun:
    """Run a program once or more, on a packet (`data`, at least 14 bytes) or on a context, as its type wants.

    What comes back as `ctx` is the context in place: only programs of type SYSCALL change it.
    """
    packet, out, context = copied(data), ctypes.create_string_buffer(len(data) + 256), copied(ctx)
    attr = structs.ProgTestRun(
        prog_fd=fd, data_size_in=len(data), data_in=address(packet), flags=flags, cpu=cpu,
        data_size_out=len(out) if data else 0, data_out=address(out) if data else 0,
        repeat=repeat if repeat > 1 else 0,  # tracing programs want 0; 0 runs all others once
        ctx_size_in=len(ctx), ctx_in=address(context),
    )  # fmt: skip
    checked(ask("PROG_TEST_RUN", attr), "cannot run a program for a test")
    return TestRun(attr.retval, attr.duration, out.raw[: attr.data_size_out] if data else b"", context.raw)


# --- objects ---------------------------------------------------------------------------------


class MapInfo(NamedTuple):
    """A map; sizes in bytes."""

    type: int
    id: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def object_info(fd: int, into: Structure) -> None:
    """Fill one of the kernel's `*_info` structures with the facts of an object."""
    attr = structs.ObjInfo(fd, ctypes.sizeof(into), ctypes.addressof(into))
    checked(ask("OBJ_GET_INFO_BY_FD", attr), "cannot ask the kernel about an object")


def map_info(fd: int) -> MapInfo:
    """Facts of a map."""
    info = structs.MapInfo()
    object_info(fd, info)
    return MapInfo(
        info.type, info.id, info.name.decode(), info.key_size, info.value_size, info.max_entries,
        info.map_flags,
    )  # fmt: skip


def btf_load(data: bytes) -> Fd:
    """Give the kernel type information; a KernelError carries its log."""
    blob = copied(data)
    attr = structs.BtfLoad(btf=address(blob), btf_size=len(data))
    result = ask("BTF_LOAD", attr)
    if result >= 0:
        return Fd(result)
    log = ctypes.create_string_buffer(_LOG_SIZES[1])
    attr.btf_log_buf, attr.btf_log_size, attr.btf_log_level = ctypes.addressof(log), len(log), 1
    again = ask("BTF_LOAD", attr)
    if again >= 0:  # what was in its way has gone
        return Fd(again)
    raise KernelError(
        "cannot load type information", -result, hint(-result), log.value.decode(errors="replace")
    )
