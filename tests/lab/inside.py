"""Runs every row of rows.py on the kernel it finds itself on, in one process, and prints what came of them.

    python -m tests.lab.inside [REGEX]

REGEX: only rows that have it in their names.
One line of JSON: {"release", "features": {name: release}, "absent": names, "rows": {name: {"ok", "text",
"links", "seconds"}}}. `text` is what was shown, or why nothing was: a traceback where pbt failed, for the others run all the same.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import threading
import time
import traceback

from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.pipeline import Options, compile
from pbt.probes.kprobe import traceable
from pbt.runtime.session import Session
from pbt.source import PbtError, Source, UsageError
from pbt.sys import objects
from pbt.uapi.features import FEATURES
from tests.lab.rows import MESSAGES, ROWS, Row

PATIENCE = 60  # seconds for one row
FRAMES = -5  # of a traceback: the innermost
CELL = ctypes.c_long(0)
NONE = "this kernel has no such function"


def addresses(script: str, target: Target) -> str:
    """`{name}` → the address of a kernel symbol, `{cell}` → that of CELL; and names of `picked`."""
    script = script.replace("{cell}", hex(ctypes.addressof(CELL)))
    for word in set(re.findall(r"\{(FORBIDDEN|TWICE|CALL|isra|part|constprop)\}", script)):
        script = script.replace(f"{{{word}}}", picked(word, target))
    return re.sub(r"\{(\w+)\}(?=[: ])", lambda m: hex(target.kallsyms.address(m[1])), script)


def picked(word: str, target: Target) -> str:
    """A function of this kernel for one of the words that rows.py may use. UsageError if it has none."""
    forbidden = target.tracefs.forbidden
    traced = sorted(traceable(target).get("vmlinux", frozenset()) - forbidden)
    if word == "FORBIDDEN":
        fit = (name for name in sorted(forbidden) if name.isidentifier() and target.kallsyms.has(name))
    elif word == "CALL":
        fit = (f"{name}+4" for name in ("vfs_read",) if target.arch.name == "aarch64")
    elif word == "TWICE":
        fit = (name for name, where in target.kallsyms.addresses(traced).items() if len(where) == 2)
    else:
        fit = (name for name in traced if re.search(rf"\.{word}\.\d+$", name))
    for name in fit:
        return name
    raise UsageError(NONE)


def drive(session: Session, row: Row, before: set[int], links: list[int], over: threading.Event) -> None:
    """Make the load once the probes are attached, then end the script; end it, too, when it takes too long.

    `over`: the script ended before, so that no load is made beside the next one.
    """
    end = time.monotonic() + PATIENCE
    try:
        while session._links is None and time.monotonic() < end:
            if over.wait(0.02):
                return
        links.append(len(set(objects.ids("link")) - before))
        if row.load or row.refused:
            subprocess.run(["/bin/sh", "-c", row.load or "true"], check=False, timeout=PATIENCE)
            CELL.value += 1
        else:
            while session.alive and time.monotonic() < end:
                time.sleep(0.05)
    finally:
        session.stop()


def run(row: Row, target: Target) -> dict[str, object]:
    start, links, sink = time.monotonic(), [], Collector()
    sink.messages = "text"  # and what is said beside it
    said: list[str] = []
    before, over = set(objects.ids("link")), threading.Event()
    try:
        options = Options(unsafe=row.unsafe, environment={})
        bundle = compile(Source(row.name, addresses(row.script, target)), target, options)
        said += bundle.warnings
        session = Session(bundle, target, sink=sink, cmd=row.cmd or None, notify=said.append)
        helper = threading.Thread(target=drive, args=(session, row, before, links, over), daemon=True)
        if row.load or row.cmd or row.refused:
            helper.start()
        session.run()
        text = "".join(message.text for message in sink.take())
        keys = re.findall(r"^@\[(.*)\]: ", text, re.M)
        ok = bool(re.search(row.shows, text, re.M)) and row.links in (0, max(links, default=0))
        ok = ok and len(keys) == len(set(keys))  # keys that look the same are the same
        told = "\n".join(line for line in said if not line.startswith("Attached "))
        ok = ok and not row.refused and bool(re.search(row.says, told))
        text = f"{text}\n{told}" if row.says else text
    except PbtError as error:
        text = "\n".join([*said, str(error)])
        ok = row.refused and bool(re.search(row.says, text))
    except Exception:
        ok, text = False, traceback.format_exc(limit=FRAMES)
    finally:
        over.set()
    print(row.name, ok, f"{time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
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
    pattern = re.compile(sys.argv[1] if len(sys.argv) > 1 else "")
    rows = {row.name: run(row, target) for row in (*ROWS, *MESSAGES) if pattern.search(row.name)}
    absent = sorted({*FEATURES, "module_btf"} - set(found))
    print(json.dumps({"release": target.release, "features": found, "absent": absent, "rows": rows}))


if __name__ == "__main__":
    main()
