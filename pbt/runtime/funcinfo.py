"""BTF for programs whose functions the kernel calls back: it takes no callback without a prototype."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pbt.uapi import btf

MAIN_PARAMS, CALLBACK_PARAMS = 1, 4  # of the program itself, and of a callback for a map's elements


def describe(functions: Sequence[tuple[str, int]]) -> tuple[bytes, bytes]:
    """(BTF, func_info) for the functions of a program, given as (name, first slot), the main one first."""
    types = btf.Types()
    result, pointer = types.integer("unsigned long", 8), types.pointer(0)
    info = bytearray()
    for number, (name, slot) in enumerate(functions):
        count = CALLBACK_PARAMS if number else MAIN_PARAMS
        prototype = types.prototype(result, [(f"a{index}", pointer) for index in range(count)])
        info += struct.pack("=2I", slot, types.function(name, prototype, btf.STATIC))
    return types.data(), bytes(info)
