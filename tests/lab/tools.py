"""Runs every published script and every tool of pbt on the kernel it finds itself on, in one process.

    python -m tests.lab.tools [NAME...]

A line of JSON for each as it is done: {"name", "why", "probes", "programs", "slots", "xlated", "accepted",
"compile", "seconds"}. Published ones are called `debian/NAME`, our own `pbt/NAME`. `why`: the message of what
does not run; `probes`: how many are attached; `slots` and `xlated`: instructions as compiled and as the kernel
keeps them; `accepted`: how many programs the built-in verifier accepts.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback

from pbt.cli import tool
from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.pipeline import Options, compile
from pbt.runtime.session import Session
from pbt.source import PbtError, Source
from pbt.sys import objects
from pbt.verifier_sim import verify_bundle
from tests.live import published

PATIENCE = 60  # seconds for one script
MOMENT = 0.3  # seconds that it runs


def scripts() -> dict[str, str]:
    """Name → file."""
    theirs = (
        {}
        if published.absent()
        else {f"debian/{name}": str(published.path(name)) for name in published.NAMES}
    )
    return {**theirs, **{f"pbt/{name}": tool.path(name) for name in tool.names()}}


def drive(session: Session, row: dict[str, object], over: threading.Event) -> None:
    """Look at it while it runs for a moment, then end it."""
    end = time.monotonic() + PATIENCE
    while session._links is None and time.monotonic() < end and not over.wait(0.02):
        pass
    try:
        if session._links is not None and session._loaded is not None:
            row["probes"] = session._links.count
            fds = {fd.fileno() for fd in session._loaded.programs}
            row["xlated"] = sum(objects.prog_info(fd).xlated_len // 8 for fd in fds)
            time.sleep(MOMENT)
    finally:
        session.stop()


def run(path: str, target: Target) -> dict[str, object]:
    start = time.monotonic()
    row: dict[str, object] = {"why": "", "probes": 0}
    over = threading.Event()
    try:
        with open(path, encoding="utf-8") as file:
            bundle = compile(Source(path, file.read()), target, Options(environment={}))
        row["compile"] = round(time.monotonic() - start, 3)
        row["programs"] = len(bundle.programs)
        row["slots"] = sum(len(program.code.insns) // 8 for program in bundle.programs)
        verdicts = verify_bundle(bundle, target)
        row["accepted"] = sum(verdict.kind == "accept" for verdict in verdicts)
        session = Session(bundle, target, sink=Collector(), quiet=True)
        helper = threading.Thread(target=drive, args=(session, row, over), daemon=True)
        helper.start()
        session.run()
        helper.join()
    except PbtError as error:
        row["why"] = str(error)
    except Exception:
        row["why"] = traceback.format_exc()
    finally:
        over.set()
    row["seconds"] = round(time.monotonic() - start, 3)
    return row


def main() -> None:
    target = Target.live()
    wanted = sys.argv[1:] or list(scripts())
    for name, path in scripts().items():
        if name in wanted:
            print(json.dumps({"name": name, **run(path, target)}), flush=True)


if __name__ == "__main__":
    main()
