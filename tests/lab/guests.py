"""Boots kernels of the lab, each once, for all that tests ask of them, while tests that measure nothing run beside it.

    python -m tests.lab.guests KERNEL,... FILE_OF_TESTS,...

Guests leave one processor to the tests until a line comes on standard input; then no test waits for anything else, and
there are as many guests as processors and memory allow. The end of standard input, before that, ends it all.
One line of JSON: {kernel: {"why", "results": {command: vm.Result}}}; `why`: for what reason it cannot be booted.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any

from tests.lab import boot, vm
from tests.lab.commands import LIVE_IN, Asked, asked

LIMIT = 1500.0  # seconds for one guest's commands, twice what they take on a quiet machine
TOTAL = 2400.0  # seconds for all guests


class Queue:
    """Kernels that wait for a guest, and what came of the others; those with more to do come first.

    The next ones are fetched while guests run.
    """

    def __init__(self, names: list[str], tests: set[str]) -> None:
        self.found: dict[str, dict[str, Any]] = {name: {} for name in names}
        self._tests, self._end = tests, time.monotonic() + TOTAL
        self._ready: SimpleQueue[tuple[str, list[Asked]] | None] = SimpleQueue()
        self._workers: list[threading.Thread] = []
        threading.Thread(target=self._fetch, daemon=True).start()

    def _fetch(self) -> None:
        try:
            for name in sorted(self.found, key=lambda name: name not in LIVE_IN):
                if why := boot.unavailable(name):
                    self.found[name]["why"] = why
                else:
                    self._ready.put((name, asked(name, self._tests)))
        finally:
            self._ready.put(None)

    def serve(self, guests: int) -> None:
        """From now on, so many guests at a time."""
        for _ in range(guests - len(self._workers)):
            # a daemon: a guest ends with the thread that started it, and that with this process
            self._workers.append(threading.Thread(target=self._work, daemon=True))
            self._workers[-1].start()

    def _work(self) -> None:
        while ready := self._ready.get():
            name, rows = ready
            files = {path: text for row in rows for path, text in row.files.items()}
            left = max(1.0, min(LIMIT, self._end - time.monotonic()))
            done = vm.run(name, [row.command for row in rows], timeout=left, files=files)
            results = {row.name: result._asdict() for row, result in zip(rows, done, strict=True)}
            self.found[name]["results"] = results
        self._ready.put(None)  # the end for the other workers, too

    def join(self) -> None:
        """Wait until all are done."""
        for worker in self._workers:
            worker.join()


def main(kernels: str, tests: str) -> None:
    queue = Queue(kernels.split(","), set(tests.split(",")))
    queue.serve(boot.at_a_time() - 1)
    if not sys.stdin.readline():
        os._exit(1)
    queue.serve(boot.at_a_time())
    queue.join()
    print(json.dumps(queue.found))


if __name__ == "__main__":
    main(*sys.argv[1:])
