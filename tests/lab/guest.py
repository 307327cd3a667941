"""Runs inside the guest: reads commands from a folder, runs each, writes what came of it.

    python3 guest.py FOLDER

FOLDER/commands.json is a list of objects as `vm.Command` has them; FOLDER/N.json gets the result of
the N-th: code (None when it had to be killed), stdout, stderr, and seconds until it was attached
and until it ended. FOLDER/begun says that the guest is up.
Only the standard library, and little of it: starting is slow without KVM.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time


def text_of(file: io.BufferedRandom) -> str:
    """All that it has so far."""
    fd = file.fileno()
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


def wait_until_attached(
    process: subprocess.Popen[bytes], files: list[io.BufferedRandom], ready: str, end: float
) -> None:
    while process.poll() is None and time.monotonic() < end and not any(ready in text_of(f) for f in files):
        time.sleep(0.1)


def run(command: dict[str, object], base: str) -> dict[str, object]:
    """Run one command: wait until it says that it is ready, make the load, interrupt it."""
    start = time.monotonic()
    end = start + float(str(command["timeout"]))
    with open(f"{base}.out", "w+b") as out, open(f"{base}.err", "w+b") as err:
        os.unlink(out.name)  # they are gone with their last descriptors, however this ends
        os.unlink(err.name)
        process = subprocess.Popen(command["argv"], stdout=out, stderr=err, stdin=subprocess.DEVNULL)  # type: ignore[call-overload]
        ready = 0.0
        if command["load"]:
            wait_until_attached(process, [out, err], str(command["ready"]), end)
            ready = time.monotonic() - start
            time.sleep(float(str(command["settle"])))
            subprocess.run(["/bin/sh", "-c", str(command["load"])], check=False, stdout=subprocess.DEVNULL)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        code: int | None = None
        try:
            code = process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        texts = [text_of(file) for file in (out, err)]
    seconds = time.monotonic() - start
    return {"code": code, "stdout": texts[0], "stderr": texts[1], "ready": ready, "seconds": seconds}


def main(folder: str) -> None:
    with open(os.path.join(folder, "commands.json")) as file:
        commands = json.load(file)
    with open(os.path.join(folder, "begun"), "w"):
        pass
    for index, command in enumerate(commands):
        result = run(command, f"/tmp/lab{os.getpid()}.{index}")
        path = os.path.join(folder, f"{index}.json")
        with open(path + ".part", "w") as file:
            json.dump(result, file)
        os.rename(path + ".part", path)
    os.sync()


if __name__ == "__main__":
    main(sys.argv[1])
