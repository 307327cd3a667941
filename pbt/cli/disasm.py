"""`pbt disasm FILE`: bytes of BPF instructions → text in the kernel verifier's spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from pbt.cli.options import Option
from pbt.cli.verbs import HELP, explained, mixed, no_more, read_bytes
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Bundle, Code
    from pbt.source import Span

OPTIONS = (
    Option("", "bytes", "", "show the bytes of each instruction too"),
    Option("", "fields", "", "take the bytes of each instruction apart"),
    Option("", "big-endian", "", "the bytes are those of s390x or another big-endian machine"),
    HELP,
)
_ELF = b"\x7fELF"  # such files state their byte order themselves
USAGE = """    pbt disasm FILE|- [options]
        disassemble bytes, hexadecimal text, a file made by pbt build, or an object file of clang
        (with its lines of C, if it has them); what is no instruction is shown as
        .insn OPCODE DST SRC OFFSET IMM"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.rest:
        raise UsageError("no file given", "pbt disasm FILE, or - for standard input")
    no_more(args.rest[1:], "disasm")
    name = args.rest[0]
    from pbt.aot import is_tool, load

    data = read_bytes(name)
    show = _Show(args.has("bytes"), args.has("fields"), args.has("big-endian") and data[:4] != _ELF)
    if is_tool(data):
        lines = show.bundle(load(data, name))
    elif data.startswith(_ELF):
        lines = show.object("stdin" if name == "-" else name, data)
    else:
        from pbt.bundle import Code

        lines = show.code(Code(instructions(data, name)))
    print("".join(f"{line}\n" for line in lines), end="")
    return 0


def instructions(data: bytes, name: str) -> bytes:
    """The bytes of instructions in a file: as they are, or read from hexadecimal text."""
    if is_text(data):
        digits = re.sub(rb"0x|[\s,:;]", b"", re.sub(rb"(?m)(#|//).*$", b"", data))
        if not re.fullmatch(rb"[0-9a-fA-F]*", digits):
            raise UsageError(f"{name} is text, but not hexadecimal", "pbt asm makes bytes of BPF text")
        if not digits or len(digits) % 16:
            raise UsageError(f"{name} has {len(digits)} hexadecimal digits: BPF instructions have 16 each")
        return bytes.fromhex(digits.decode())
    if not data or len(data) % 8:
        raise UsageError(f"{name} has {len(data)} bytes: BPF instructions have 8 bytes each")
    return data


def is_text(data: bytes) -> bool:
    """Whether bytes are text: instructions always have some byte that no text has, such as 0."""
    try:
        return not re.search(rb"[\x00-\x08\x0e-\x1f]", data) and bool(data.decode())
    except UnicodeDecodeError:
        return False


class _Show:
    """How lines are to look."""

    def __init__(self, hexadecimal: bool, fields: bool, big: bool) -> None:
        self.hexadecimal, self.fields, self.order = hexadecimal, fields, "big" if big else "little"

    def bundle(self, bundle: Bundle) -> Iterator[str]:
        from pbt.teach.code import map_line

        yield from (f"map {map_line(m)}" for m in bundle.maps)
        for program in bundle.programs:
            yield f"program {program.name}: {program.prog_type}"
            yield from self.code(program.code)

    def object(self, name: str, data: bytes) -> Iterator[str]:
        """The programs of an object file, as they are for this machine."""
        from pbt.bundle import Code, Reloc
        from pbt.host.target import Target
        from pbt.isa.insn import encode
        from pbt.objects import link

        target = Target.live()
        found = link.read(name, data, target.types, target.release)
        for map_ in found.maps:
            sizes = f"key {map_.key_size} bytes, value {map_.value_size} bytes, {map_.max_entries} entries"
            yield f"map {map_.name}: {map_.map_type}, {sizes}"
        for program in found.programs:
            relocs = [
                Reloc(at, "map_value" if kind == "map_value" else "map_fd", found.maps[n].name, more)
                for at, (n, kind, more) in program.map_of.items()
            ]
            relocs += [Reloc(at, "kfunc", function) for at, function in program.kfuncs.items()]
            yield f"program {program.name}: {program.sort.prog_type}"
            yield from self.code(Code(encode(program.insns), tuple(relocs)), program.place)

    def code(self, code: Code, place: Callable[[int], Span | None] = lambda pc: None) -> Iterator[str]:
        """The instructions; before those of another line than the one before, that line."""
        from pbt.isa.insn import decode, encode
        from pbt.teach.code import hexed, rows
        from pbt.teach.explain import taken_apart

        if self.order == "big":
            code = type(code)(encode(decode(code.insns, "big")), code.relocs, code.spans, code.functions)
        last: tuple[str, int, str] = ("", 0, "")
        starts = {first: name for name, first in code.functions if first}
        for row in rows(code):
            if row.first in starts:
                yield f"{starts[row.first]}:"
            span = place(row.first)
            line = (span.source.name, *span.locate()[::2]) if span is not None else last
            if line != last:
                yield f"; {line[0]}:{line[1]}: {line[2].strip()}"
            last = line
            shown = f"{hexed(row.data):47}  " if self.hexadecimal else ""
            yield f"{row.first:4}: {shown}{row.text}"
            if self.fields:
                yield from (f"      {line}" for line in taken_apart(row.slots[0]))
