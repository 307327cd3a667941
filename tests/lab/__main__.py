"""Runs a command in kernels of the lab: `python -m tests.lab --kernel 6.1 -- pytest tests/live`.

Without a command it runs every row of rows.py; with --save it keeps what came of them and writes
docs/kernels.md anew (`--kernel all --here --save` does it for the whole table).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from tests.lab import kernels, table, vm

ROWS = [sys.executable, "-m", "tests.lab.inside"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument(
        "--kernel", default="6.1", help="all, or names with commas: " + ", ".join(kernels.KERNELS)
    )
    parser.add_argument("--timeout", type=float, default=1500, help="seconds for the command in each kernel")
    parser.add_argument("--here", action="store_true", help="this machine's kernel too (rows only)")
    parser.add_argument(
        "--rows", default="", help="only rows that have this regular expression in their names"
    )
    parser.add_argument("--save", action="store_true", help="keep the outcome of the rows in docs/kernels.md")
    parser.add_argument("command", nargs="*", help="after --, a program and its arguments")
    return parser.parse_args()


def program(words: list[str]) -> list[str]:
    """The command; pytest and python mean those of the interpreter that runs this."""
    own = {
        "pytest": [sys.executable, "-m", "pytest"],
        "python": [sys.executable],
        "pbt": [sys.executable, "-m", "pbt"],
    }
    return [*own.get(words[0], [words[0]]), *words[1:]]


def main() -> int:
    args = arguments()
    if args.command:
        return max(run(kernel, program(args.command), args.timeout) for kernel in kernels.chosen(args.kernel))
    for kernel in kernels.chosen(args.kernel):
        result = vm.run(kernel, [vm.Command([*ROWS, args.rows], timeout=args.timeout)])[0]
        if result.code != 0:
            print(result.stdout + result.stderr)
            return 1
        report(kernel, result.stdout, args.save)
    if args.here:
        made = subprocess.run(
            [*ROWS, args.rows], check=True, capture_output=True, text=True, cwd=kernels.PROJECT
        )
        report(table.HERE, made.stdout, args.save)
    return 0


def report(kernel: str, line: str, save: bool) -> None:
    """Say what came of the rows, and keep it."""
    found = json.loads(line)
    print(table.summary(kernel, found), flush=True)
    if save:
        table.save({kernel: found})


def run(kernel: str, command: list[str], timeout: float) -> int:
    result = vm.run(kernel, [vm.Command(command, timeout=timeout)])[0]
    print(f"--- {kernel}: {result.seconds:.0f} s, exit status {result.code}")
    print(result.stdout + result.stderr, end="")
    return 1 if result.code is None else result.code


if __name__ == "__main__":
    raise SystemExit(main())
