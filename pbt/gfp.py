"""Flags of the kernel's memory allocations, as printf's `%gr` shows them.

Source: include/linux/gfp_types.h of Linux 6.18; names and their order: include/trace/events/mmflags.h. Bits
from SKIP_ZERO on depend on the kernel's configuration.
"""

from __future__ import annotations

GFP: tuple[tuple[str, int], ...] = (
    ("GFP_TRANSHUGE", 0x1C24CA), ("GFP_TRANSHUGE_LIGHT", 0x1C20CA), ("GFP_HIGHUSER_MOVABLE", 0x100CCA),
    ("GFP_HIGHUSER", 0x100CC2), ("GFP_USER", 0x100CC0), ("GFP_KERNEL_ACCOUNT", 0x400CC0), ("GFP_KERNEL", 0xCC0),
    ("GFP_NOFS", 0xC40), ("GFP_ATOMIC", 0x820), ("GFP_NOIO", 0xC00), ("GFP_NOWAIT", 0x2800),
    ("GFP_DMA", 0x1), ("__GFP_HIGHMEM", 0x2), ("GFP_DMA32", 0x4), ("__GFP_MOVABLE", 0x8),
    ("__GFP_RECLAIMABLE", 0x10), ("__GFP_HIGH", 0x20), ("__GFP_IO", 0x40), ("__GFP_FS", 0x80),
    ("__GFP_ZERO", 0x100), ("__GFP_DIRECT_RECLAIM", 0x400), ("__GFP_KSWAPD_RECLAIM", 0x800),
    ("__GFP_WRITE", 0x1000), ("__GFP_NOWARN", 0x2000), ("__GFP_RETRY_MAYFAIL", 0x4000), ("__GFP_NOFAIL", 0x8000),
    ("__GFP_NORETRY", 0x10000), ("__GFP_MEMALLOC", 0x20000), ("__GFP_COMP", 0x40000),
    ("__GFP_NOMEMALLOC", 0x80000), ("__GFP_HARDWALL", 0x100000), ("__GFP_THISNODE", 0x200000),
    ("__GFP_ACCOUNT", 0x400000), ("__GFP_ZEROTAGS", 0x800000), ("__GFP_SKIP_ZERO", 0x1000000),
    ("__GFP_SKIP_KASAN", 0x2000000),
)  # fmt: skip
"""Name and bits; names of several bits come first."""


def names(flags: int) -> str:
    """ "GFP_KERNEL|__GFP_ZERO"; what has no name in hexadecimal; "0" for none."""
    found = []
    for name, bits in GFP:
        if flags & bits == bits:
            found.append(name)
            flags &= ~bits
    return "|".join([*found, *([f"{flags:#x}"] if flags else [])]) or "0"
