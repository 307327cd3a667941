"""All benches: one table in Markdown, and as JSON, with the machine they ran on.

    python -m bench.run [--short] [FOLDER]

Writes FOLDER/performance.md and FOLDER/performance.json (default: this folder). docs/performance.md
holds the last full one. `--short` shows that every bench still works, in a few minutes. Needs root.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.tools import HERE, PBT, flag, machine, peers

BENCHES = {
    "startup": "Start-up: from exec to the end",
    "code": "Code: instructions, verifier, time per run",
    "clang": "Code: instructions beside clang's",
    "compile": "Compiler",
    "events": "Events and maps",
}


def run(name: str, short: bool) -> dict[str, object]:
    """One bench in a process of its own: what it prints as JSON."""
    words = [sys.executable, "-m", f"bench.{name}", "--json", *(["--short"] if short else [])]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def document(found: dict[str, dict[str, object]], took: dict[str, float]) -> str:
    facts = [*machine(), ("tools", ", ".join(tool.name for tool in (PBT, *peers())))]
    parts = ["\n".join(f"- {name}: {value}" for name, value in facts)]
    parts += [f"## {BENCHES[name]}\n\n{found[name]['text']}\n\n({took[name]:.0f} s)" for name in found]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    folder = Path(words[0]) if words else HERE
    found, took = {}, {}
    for name in BENCHES:
        start = time.monotonic()
        found[name] = run(name, flag("short"))
        took[name] = time.monotonic() - start
        print(f"{name}: {took[name]:.0f} s", file=sys.stderr)
    (folder / "performance.md").write_text(document(found, took))
    (folder / "performance.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
