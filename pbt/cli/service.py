"""Telling others how far the script is: systemd, and whoever waits for a line of output."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.runtime.session import State

WANTED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"
"""The environment variable that asks for a line of its own name once all probes are attached."""

_MESSAGES = {"ready": b"READY=1", "stopping": b"STOPPING=1"}  # sd_notify(3)


def teller() -> Callable[[State], None]:
    """What the session is to call at each state. The line goes to standard output, wherever the script's goes."""
    wanted, address = WANTED in os.environ, os.environ.get("NOTIFY_SOCKET", "")

    def tell(state: State) -> None:
        if state == "ready" and wanted:
            os.write(1, f"{WANTED}\n".encode())
        if address:
            _notify(address, _MESSAGES[state])

    return tell


def _notify(address: str, message: bytes) -> None:
    """To a service manager's socket, a path or an abstract name ("@..."); one that is gone is no matter."""
    import socket  # hardly any script is a service

    name = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.sendto(message, name)
