"""`pbt asm FILE`: BPF text in the kernel verifier's spelling → the bytes of its instructions."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.cli.options import Option
from pbt.cli.verbs import HELP, explained, mixed, no_more, read_bytes, text_of, write_bytes
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.isa.asm import Assembly

OPTIONS = (
    Option("o", "output", "FILE", "write bytes to FILE, not hexadecimal lines to standard output"),
    Option("", "big-endian", "", "the byte order of s390x and other big-endian machines"),
    HELP,
)
USAGE = """    pbt asm FILE|- [-o FILE]
        assemble; one instruction a line, "label:", comments after ; or // or #, helpers by name or
        number; .map NAME TYPE KEY VALUE ENTRIES declares what map[NAME] loads"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.rest:
        raise UsageError("no file given", "pbt asm FILE, or - for standard input")
    no_more(args.rest[1:], "asm")
    name = args.rest[0]
    data = assembled(text_of(read_bytes(name), name), name, "big" if args.has("big-endian") else "little")
    if args.has("output"):
        write_bytes(args.get("output"), data)
    else:
        print("".join(f"{data[at : at + 8].hex(' ')}\n" for at in range(0, len(data), 8)), end="")
    return 0


def assembled(text: str, name: str, byteorder: str = "little") -> bytes:
    """The bytes of a text; ScriptError points at the line that is wrong."""
    from pbt.isa.insn import encode

    return encode(assembly(text, name).insns, byteorder)


def assembly(text: str, name: str) -> Assembly:
    """Instructions, places and maps of a text; ScriptError points at the line that is wrong."""
    from pbt.isa.asm import read
    from pbt.uapi.helpers import HELPERS

    helpers = {name: helper.id for name, helper in HELPERS.items()}
    return read(text, helpers, "stdin" if name == "-" else name)
