"""Compiles every script of the repository for the kernel it finds itself on, loads its programs, and judges them, too.

    python -m tests.lab.scripts [N OF]

Nothing is attached. A line of JSON for each script as it is done: {"name", "why", "programs", "refused",
"accepted", "seconds"}. `why`: the message of what does not compile for this kernel, or whose maps cannot be made;
`programs`: their names, numbered, for a script may have several of a name; `refused`: the one of them that the kernel
did not take (its reason is in `why`), or nothing; `accepted`: those that the built-in verifier accepts. Rows of the language are tried some together, and one by
one where they cannot be. `N OF`: only the N-th of so many shares (from 0), for emulation is slow.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pbt.cli.kernel import judging
from pbt.host.target import Target
from pbt.pipeline import Options, compile
from pbt.runtime.load import LoadError, load
from pbt.source import PbtError, Source
from pbt.verifier_sim import verify_bundle
from tests.live.test_language import ROWS, Row, script_of

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench/scripts", "tests/golden", "tools")
TOGETHER = 12  # rows in one script


def scripts() -> Iterator[tuple[str, str]]:
    """Name and text of every file."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.bt")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def outcome(name: str, text: str, target: Target, options: dict[str, Any]) -> dict[str, Any]:
    """One script."""
    row: dict[str, Any] = {"name": name, "why": "", "programs": [], "refused": "", "accepted": []}
    start = time.monotonic()
    try:
        bundle = compile(Source(name, text), target, Options(environment={}, unsafe=True))
        row["programs"] = names = [f"{at} {program.name}" for at, program in enumerate(bundle.programs)]
        verdicts = verify_bundle(bundle, target, **options)
        row["accepted"] = [name for name, verdict in zip(names, verdicts, strict=True) if verdict.ok]
        load(bundle, target).close()
    except LoadError as error:
        row["refused"] = names[bundle.programs.index(error.program)]
        row["why"] = f"{error.reason}\n{error.log[-600:]}"
    except PbtError as error:
        row["why"] = str(error)
    except Exception:
        row["why"] = traceback.format_exc()
    return row | {"seconds": round(time.monotonic() - start, 2)}


def rows(
    some: Sequence[tuple[int, Row]], target: Target, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Some rows of the language as one script, or (where one of them does not compile) each by itself."""
    name = f"rows {some[0][0]} to {some[-1][0]}" if len(some) > 1 else f"row: {some[0][1].name}"
    found = outcome(name, script_of(some), target, options)
    if len(some) > 1 and found["why"] and not found["refused"]:
        for one in some:
            yield from rows([one], target, options)
    else:
        yield found


def main() -> None:
    target = Target.live()
    options = judging(target.release, ask=True)
    number, of = map(int, sys.argv[1:3] or (0, 1))
    for name, text in list(scripts())[number::of]:
        print(json.dumps(outcome(name, text, target, options)), flush=True)
    numbered = list(enumerate(ROWS))
    for at in range(number * TOGETHER, len(numbered), of * TOGETHER):
        for row in rows(numbered[at : at + TOGETHER], target, options):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
