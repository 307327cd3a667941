"""Stacks by their ids, from the maps that keep them (see pbt/builtins/stackmaps.py)."""

from __future__ import annotations

import struct
import sys

from pbt.builtins.stackmaps import ELSEWHERE, PROCESS, more
from pbt.bundle import Bundle
from pbt.runtime.load import Loaded
from pbt.sys import bpf
from pbt.typing import Literal

_ID = struct.Struct("=iI")  # bucket, process
_ORDER: Literal["little", "big"] = sys.byteorder
_BUCKET = struct.Struct("=i")


class Stacks:
    """Those of one form. Their owner keeps the descriptors open."""

    def __init__(self, bundle: Bundle, loaded: Loaded, name: str) -> None:
        """`name`: of the STACK_TRACE map."""
        self._read = bpf.map_reader(loaded.map(name), 4, bundle.map(name).value_size)
        self._fd, self._key_size = loaded.map(more(name)), bundle.map(more(name)).key_size
        self._elsewhere: dict[bytes, tuple[int, bytes]] = {}

    def find(self, raw: bytes) -> tuple[int, bytes]:
        """The process that a stack belongs to, and its frames; b"" when it is not there."""
        bucket, process = _ID.unpack(raw)
        if process & ELSEWHERE:
            if raw not in self._elsewhere:
                self._look()
            return self._elsewhere.get(raw, (0, b""))
        return process, (self._read(_BUCKET.pack(bucket)) or b"") if bucket >= 0 else b""

    def _look(self) -> None:
        """Read the hash: many at once, as they become known together when a map is printed."""
        size = self._key_size
        keys, ids = bpf.map_blocks(self._fd, size, _ID.size)
        for number, (id_,) in enumerate(struct.iter_unpack(f"{_ID.size}s", ids)):
            key = keys[number * size : (number + 1) * size]
            self._elsewhere[id_] = int.from_bytes(key[:PROCESS], _ORDER), key[PROCESS:]
