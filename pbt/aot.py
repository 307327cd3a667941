"""Bundle ⇄ one file that runs by itself, without the compiler.

The file: a line that makes it executable, `MAGIC` with the format's number, the CRC-32 of what follows (u32),
and a zlib stream: a u32 (little endian), so many bytes of JSON, then raw bytes that the JSON points into.
What the JSON means, see rows.py: nothing in the file is code for Python.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence

from pbt import bundle as waist
from pbt.bundle import Bundle
from pbt.rows import DAMAGE, Layout, Reader, Tool, Writer
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target

FIRST_LINE = b"#!/usr/bin/env -S pbt run\n"
MAGIC, FORMAT = b"\x7fPBT", 3
_MOST = 1 << 28  # bytes of an unpacked file: far more than any script makes
_LENGTH, _HEAD = struct.Struct("<I"), struct.Struct("<II")
_DAMAGE = (zlib.error, struct.error, *DAMAGE)


# --- writing ------------------------------------------------------------------------------------


def pack(tool: Tool) -> bytes:
    """The bytes of a file; the same for the same tool."""
    writer = Writer()
    writer.value(tool)
    text = json.dumps(writer.rows, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = zlib.compress(_LENGTH.pack(len(text)) + text + writer.raw, 9)
    return b"".join((FIRST_LINE, MAGIC, _HEAD.pack(FORMAT, zlib.crc32(body)), body))


def save(bundle: Bundle, layouts: Sequence[Layout] = ()) -> bytes:
    """The bytes of a file that holds a bundle."""
    return pack(Tool(bundle, tuple(layouts)))


# --- reading ------------------------------------------------------------------------------------


def is_tool(data: bytes) -> bool:
    """Whether bytes look like a file made by `pack`, perhaps of another version or damaged."""
    return _after_first_line(data).startswith(MAGIC)


def _after_first_line(data: bytes) -> bytes:
    return data.partition(b"\n")[2] if data.startswith(b"#!") else data


def unpack(data: bytes, name: str = "the file") -> Tool:
    """The tool in the bytes of a file; UsageError naming what is wrong with `name`."""
    data = _after_first_line(data)
    if not data.startswith(MAGIC):
        raise UsageError(f"{name} is not a file made by pbt build", "pbt build SCRIPT -o FILE makes one")
    head = len(MAGIC) + _HEAD.size
    if len(data) < head:
        raise UsageError(f"{name} is damaged: it ends within its first {head} bytes")
    version, checksum = _HEAD.unpack_from(data, len(MAGIC))
    if version != FORMAT:
        raise UsageError(f"{name} has format {version}, this pbt reads format {FORMAT}", "build it again")
    body = data[head:]
    if zlib.crc32(body) != checksum:
        raise UsageError(f"{name} is damaged: its contents do not have the checksum that it states")
    try:
        return _read(body)
    except _DAMAGE as error:
        raise UsageError(f"{name} is damaged: {error}") from None


def _read(body: bytes) -> Tool:
    stream = zlib.decompressobj()
    data = stream.decompress(body, _MOST)
    if stream.unconsumed_tail or not stream.eof:
        raise ValueError("the compressed part has no end")
    (length,) = _LENGTH.unpack_from(data)
    text = data[_LENGTH.size : _LENGTH.size + length]
    reader = Reader(data[_LENGTH.size + length :])
    for row in json.loads(text.decode("utf-8", "surrogatepass")):
        reader.record(row)
    tool = reader.made[-1]
    if not isinstance(tool, Tool):
        raise ValueError("it holds no script")
    return tool


def load(data: bytes, name: str = "the file") -> Bundle:
    """The bundle in the bytes of a file; see `unpack`."""
    return unpack(data, name).bundle


# --- files --------------------------------------------------------------------------------------


def write_file(path: str, tool: Tool) -> int:
    """Write an executable file; its size in bytes. An existing file is replaced at once, or not at all.

    What is no file, such as a device or a pipe, is written to.
    """
    data, temporary = pack(tool), f"{path}.{os.getpid()}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as device:
                device.write(data)
            return len(data)
        with open(temporary, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o777 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    return len(data)


def read_file(path: str) -> Tool:
    """The tool in a file; UsageError if it cannot be read or holds none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    return unpack(data, path)


# --- fitting the machine ------------------------------------------------------------------------


def fit(tool: Tool, target: Target, name: str) -> None:
    """UsageError unless the machine has what the code relies on: processor, features, layouts."""
    bundle = tool.bundle
    again = f"build it again: pbt build {bundle.name if bundle.name != 'stdin' else '-e PROGRAM'} -o {name}"
    if bundle.arch != target.arch.name:
        raise UsageError(f"{name} was built for {bundle.arch}, this machine is {target.arch.name}", again)
    missing = [feature for feature in bundle.features if not _has(target, feature)]
    if missing:
        lacks = f"{name} was built for Linux {bundle.release} and needs {', '.join(missing)}"
        raise UsageError(f"{lacks}, which this kernel ({target.release}) does not have for this user", again)
    if bundle.release != target.release:
        _same_layouts(tool, target, name, again)


def _has(target: Target, feature: str) -> bool:
    from pbt.uapi.features import FEATURES

    return feature in FEATURES and target.has(feature)


def _same_layouts(tool: Tool, target: Target, name: str, again: str) -> None:
    for layout in tool.layouts:
        found = _find(layout, target)
        if found != (layout.offset, layout.size):
            here = "is not there" if found is None else f"is {found[1]} bytes at byte {found[0]}"
            was = f"not {layout.size} bytes at byte {layout.offset} as in Linux {tool.bundle.release}"
            raise UsageError(
                f"{name} does not fit this kernel ({target.release}):"
                f" {layout.struct}.{layout.field} {here}, {was}",
                again,
            )


def _find(layout: Layout, target: Target) -> tuple[int, int] | None:
    """(offset, size) that a field has on this machine; None if there is none."""
    if layout.struct.startswith("tracepoint:"):
        _, category, event = layout.struct.split(":")
        form = target.tracefs.format(category, event, target.types)
        struct_ = form.struct if form else None
    else:
        struct_ = target.types.struct(layout.struct) if target.types is not None else None
    member = struct_.find(layout.field) if struct_ is not None else None
    return (member.offset, member.type.size) if member is not None else None


def tied(bundle: Bundle, target: Target, pid: int) -> Bundle:
    """The bundle with programs that return at once in any process but `pid` (as the compiler's -p)."""
    from pbt.data import replace
    from pbt.feature import Provider
    from pbt.registry import collect

    known = collect("pbt.probes", Provider)
    programs = []
    for program in bundle.programs:
        context = known[program.provider].describe(program.place, target)
        if not context.anyone and not known[program.provider].auto:
            program = replace(program, code=_behind(program.code, pid, context.result))
        programs.append(program)
    return replace(bundle, programs=tuple(programs))


def _behind(code: waist.Code, pid: int, result: int) -> waist.Code:
    """Code behind a test of the process: all jumps are relative, so it moves as it is."""
    from pbt.isa.insn import EXIT, alu, branch, call, encode, mov, mov_imm
    from pbt.uapi.helpers import HELPERS

    test = encode((
        mov(6, 1), call(HELPERS["get_current_pid_tgid"].id), alu("RSH", 0, imm=32),
        branch("JEQ", 0, None, 2, pid), mov_imm(0, result), EXIT, mov(1, 6),
    ))  # fmt: skip
    shift = len(test) // 8
    return waist.Code(
        test + code.insns,
        tuple(waist.Reloc(r.insn + shift, r.kind, r.name, r.offset) for r in code.relocs),
        (waist.Place(-1, -1),) * shift + code.spans,
        tuple((name, first + shift if first else 0) for name, first in code.functions),
    )
