"""Runs every row of rows.py on the kernel it finds itself on, in one process, and prints what came of them.

    python -m tests.lab.inside

One line of JSON: {"release", "features": {name: release}, "absent": names, "rows": {name: {"ok", "text",
"links", "seconds"}}}. `text` is what was shown, or why nothing was.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import threading
import time

from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.pipeline import Options, compile
from pbt.runtime.session import Session
from pbt.source import PbtError, Source
from pbt.sys import bpf
from pbt.uapi.features import FEATURES
from tests.lab.rows import ROWS, Row

PATIENCE = 60  # seconds for one row
CELL = ctypes.c_long(0)


def addresses(script: str, target: Target) -> str:
    """`{name}` → the address of a kernel symbol, `{cell}` → that of CELL."""
    script = script.replace("{cell}", hex(ctypes.addressof(CELL)))
    return re.sub(r"\{(\w+)\}(?=[: ])", lambda m: hex(target.kallsyms.address(m[1])), script)


def drive(session: Session, row: Row, before: set[int], links: list[int]) -> None:
    """Make the load once the probes are attached, then end the script; end it, too, when it takes too long."""
    end = time.monotonic() + PATIENCE
    while session._links is None and time.monotonic() < end:
        time.sleep(0.02)
    links.append(len(set(bpf.ids("link")) - before))
    if row.load:
        subprocess.run(["/bin/sh", "-c", row.load], check=False, timeout=PATIENCE)
        CELL.value += 1
    else:
        while session.alive and time.monotonic() < end:
            time.sleep(0.05)
    session.stop()


def run(row: Row, target: Target) -> dict[str, object]:
    start, links, sink = time.monotonic(), [], Collector()
    before = set(bpf.ids("link"))
    try:
        bundle = compile(Source(row.name, addresses(row.script, target)), target, Options(unsafe=True))
        session = Session(bundle, target, sink=sink, quiet=True, cmd=row.cmd or None)
        helper = threading.Thread(target=drive, args=(session, row, before, links), daemon=True)
        if row.load or row.cmd:
            helper.start()
        session.run()
        text = "".join(message.text for message in sink.take())
        keys = re.findall(r"^@\[(.*)\]: ", text, re.M)
        ok = bool(re.search(row.shows, text, re.M)) and row.links in (0, max(links, default=0))
        ok = ok and len(keys) == len(set(keys))  # keys that look the same are the same
    except PbtError as error:
        text, ok = str(error), False
    return {
        "ok": ok,
        "text": text[-1500:],
        "links": max(links, default=0),
        "seconds": time.monotonic() - start,
    }


def main() -> None:
    target = Target.live()
    found = {name: row.release for name, row in FEATURES.items() if target.has(name)}
    if target.modules() and target.has("fentry"):
        found["module_btf"] = "5.11"
    rows = {row.name: run(row, target) for row in ROWS}
    absent = sorted({*FEATURES, "module_btf"} - set(found))
    print(json.dumps({"release": target.release, "features": found, "absent": absent, "rows": rows}))


if __name__ == "__main__":
    main()
