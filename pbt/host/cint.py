"""The integer types of C by their spellings, however their words are ordered.

Sizes are those of 64-bit Linux (LP64). `char` counts as signed everywhere, because text is told
from bytes by it. Source: C11 6.7.2 and the ELF psABIs.
"""

from __future__ import annotations

from pbt.types import BOOL, CHAR, I8, I16, I32, I64, U8, U16, U32, U64, VOID, Int, Type

_WORDS = frozenset(("signed", "unsigned", "char", "short", "int", "long", "__int128"))
_QUALIFIERS = frozenset(
    ("const", "volatile", "restrict", "__restrict", "__user", "__rcu", "__percpu", "__iomem")
)
_PAIRS = {1: (U8, I8), 2: (U16, I16), 4: (U32, I32), 8: (U64, I64), 16: (Int(16), Int(16, True))}

FIXED: dict[str, Type] = {  # typedefs that are the same on every machine
    "void": VOID, "_Bool": BOOL, "bool": BOOL,
    "u8": U8, "u16": U16, "u32": U32, "u64": U64,
    "s8": I8, "s16": I16, "s32": I32, "s64": I64,
    "__u8": U8, "__u16": U16, "__u32": U32, "__u64": U64,
    "__s8": I8, "__s16": I16, "__s32": I32, "__s64": I64,
    "uint8_t": U8, "uint16_t": U16, "uint32_t": U32, "uint64_t": U64,
    "int8_t": I8, "int16_t": I16, "int32_t": I32, "int64_t": I64,
    "size_t": U64, "ssize_t": I64, "uintptr_t": U64, "intptr_t": I64,
}  # fmt: skip


def integer(size: int, signed: bool) -> Int:
    """The shared `Int` of that size (1, 2, 4, 8, 16) and sign; a fresh one for other sizes."""
    pair = _PAIRS.get(size)
    return pair[signed] if pair else Int(size, signed)


def alignment(size: int) -> int:
    """The alignment that a struct of `size` bytes may have at most: neither BTF nor tracefs records it."""
    return size & -size if size % 8 else 8 if size else 1


def strip_qualifiers(spelling: str) -> str:
    """The words of a type without const, volatile and the kernel's annotations, one blank apart."""
    return " ".join(word for word in spelling.replace("*", " * ").split() if word not in _QUALIFIERS)


def basic(spelling: str) -> Type | None:
    """The type that a spelling such as "long unsigned int" or "u32" means without any BTF, or None."""
    words = spelling.split()
    if words in (["char"], ["const", "char"]):
        return CHAR
    if len(words) == 1 and words[0] in FIXED:
        return FIXED[words[0]]
    if not words or not _WORDS.issuperset(words):
        return None
    return integer(_size(words), "unsigned" not in words)


def _size(words: list[str]) -> int:
    for word, size in (("char", 1), ("short", 2), ("long", 8), ("__int128", 16)):
        if word in words:
            return size
    return 4
