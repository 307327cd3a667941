"""BTF of our programs: the kernel takes no callback without a prototype, and lets be traced what has one.

A name of a program in the kernel has 15 characters; that of a function in BTF says the whole probe.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pbt.uapi import btf

CALLBACK_PARAMS = 4  # of a callback for a map's elements
_LONGEST = 120  # characters: the kernel's symbols had at most 127 before Linux 6.1

Functions = Sequence[tuple[str, int]]
"""Functions of a program with their first slots, the main one first; empty where it is alone."""


def describe(programs: Sequence[tuple[str, Functions]]) -> tuple[bytes, list[bytes]]:
    """BTF for the functions of named programs, and each program's func_info."""
    types = btf.Types()
    number, long, pointer = (
        types.integer("unsigned int", 4),
        types.integer("unsigned long", 8),
        types.pointer(0),
    )
    main = types.prototype(number, [("ctx", pointer)])
    callback = types.prototype(long, [(f"a{index}", pointer) for index in range(CALLBACK_PARAMS)])
    made = []
    for name, functions in programs:
        own = identifier(name)
        rows = [(own, 0, main), *((f"{own}_{inner}", slot, callback) for inner, slot in functions[1:])]
        made.append(
            b"".join(
                struct.pack("=2I", slot, types.function(text, kind, btf.STATIC)) for text, slot, kind in rows
            )
        )
    return types.data(), made


def identifier(name: str) -> str:
    """The name of a probe as one of a C function."""
    text = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)
    return text[:_LONGEST] if not text[:1].isdigit() else f"_{text[:_LONGEST]}"
