"""What this kernel can do, found out by trying, never from its release or configuration.

Each feature is tried when somebody asks for it, once. One attempt is a system call or two (0.1 to
0.3 ms), less than reading a file of remembered answers would take; and answers depend on the
capabilities of whoever asks, so none are kept beyond the process.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pbt.source import KernelError

if TYPE_CHECKING:
    from pbt.uapi.features import Feature

Try = Callable[[str], bool]
_RETURN_0 = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)
