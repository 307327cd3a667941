"""Runs `pbt` many times without importing it each time: reads jobs, forks, answers with exit statuses.

A job is one line of JSON: words, environment, and the files for standard output and standard error. Jobs
are run one after the other. The command itself, from its start, is tested in tests/live.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import NoReturn

TIMEOUT = 60  # seconds
# What a run imports sooner or later.
MODULES = (
    *("cli.main", "cli.trace", "pipeline", "runtime.session", "output.json", "verifier_sim.check"),
    *("lang.expand", "lang.check", "lang.parse", "lower.script", "backend.pipeline"),
    *("host.target", "host.btf", "host.elf", "host.proc", "host.kallsyms", "host.tracefs"),
)


def serve() -> None:
    for name in MODULES:
        importlib.import_module("pbt." + name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _run(**job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(words: list[str], environment: dict[str, str], out: str, err: str) -> NoReturn:
    """Be the command `pbt`."""
    from pbt.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    for fd, path in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, fd)
        os.close(file)
    sys.argv = ["pbt", *words]
    signal.alarm(TIMEOUT)
    try:
        status = main()
        sys.stdout.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    os._exit(status)


if __name__ == "__main__":
    serve()
