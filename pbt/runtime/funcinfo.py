"""BTF for programs whose functions the kernel calls back: it takes no callback without a prototype.

Source: Documentation/bpf/btf.rst; struct bpf_func_info of <linux/bpf.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC, _HEADER = 0xEB9F, 24
_INT, _PTR, _FUNC, _FUNC_PROTO = 1, 2, 12, 13
_PARAMS = {True: 1, False: 4}  # of the program itself, and of a callback for a map's elements
_U64, _VOID_PTR = 1, 2  # type ids, in the order written


def describe(functions: Sequence[tuple[str, int]]) -> tuple[bytes, bytes]:
    """(BTF, func_info) for the functions of a program, given as (name, first slot), the main one first."""
    names, types = bytearray(b"\0"), bytearray()

    def string(text: str) -> int:
        names.extend(text.encode() + b"\0")
        return len(names) - len(text) - 1

    def head(name: int, kind: int, count: int, size_or_type: int) -> None:
        types.extend(struct.pack("=3I", name, kind << 24 | count, size_or_type))

    head(string("unsigned long"), _INT, 0, 8)
    types.extend(struct.pack("=I", 64))
    head(0, _PTR, 0, 0)
    info = bytearray()
    for number, (name, slot) in enumerate(functions):
        count = _PARAMS[number == 0]
        head(0, _FUNC_PROTO, count, _U64)
        for index in range(count):
            types.extend(struct.pack("=2I", string(f"a{index}"), _VOID_PTR))
        head(string(name), _FUNC, 0, _VOID_PTR + 2 * number + 1)  # linkage static
        info.extend(struct.pack("=2I", slot, _VOID_PTR + 2 * number + 2))
    header = struct.pack("=HBBIIIII", _MAGIC, 1, 0, _HEADER, 0, len(types), len(types), len(names))
    return bytes(header + types + names), bytes(info)
