"""`python -m pbt` and the command `pbt`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from pbt import modules
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from typing import NoReturn
else:
    import _signal as signal  # `signal` itself makes enums of the numbers, which takes long


def main() -> NoReturn:
    """Run the command and end the process; what Python would take apart then, the kernel frees at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a script runs, Ctrl-C ends the process at once
    # Were it ignored, as some parents leave it, children had no status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    modules.install()
    from pbt.cli.main import main as command

    status = command()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
