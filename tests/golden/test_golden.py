"""Scripts and their answers, in text and JSON, and the instructions they become.

`text/NAME.bt` is a script followed by what it prints, as lines of comment; `json/NAME.jsonl` is what the
same script prints with -f json; `asm/NAME.bt` is a script followed by its instructions on the machine
saved in tests/fixtures/target. `pytest --bless` rewrites the answers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pbt.cli.main import main

HERE = Path(__file__).parent
TARGET = HERE.parent / "fixtures" / "target"


def named(folder: str) -> list[str]:
    return sorted(path.stem for path in (HERE / folder).glob("*.bt"))


def split(text: str) -> tuple[str, str]:
    """A file's script and its answer: the lines of comment that end it."""
    lines = text.splitlines()
    end = len(lines)
    while end and lines[end - 1].startswith("//"):
        end -= 1
    answer = "".join(line[3:] + "\n" for line in lines[end:])
    return "\n".join(lines[:end]).rstrip("\n") + "\n", answer


def join(script: str, answer: str) -> str:
    return script + "\n" + "".join(f"// {line}".rstrip(" ") + "\n" for line in answer.splitlines())


def bare(text: str) -> str:
    """Without blanks at the ends of lines, which no editor keeps."""
    return "".join(line.rstrip(" ") + "\n" for line in text.splitlines())


@pytest.fixture
def run(capfd, monkeypatch):
    """Run a script in this process; what it prints."""
    for name in [name for name in os.environ if name.startswith("BPFTRACE_")]:
        monkeypatch.delenv(name)

    def run(*words: str) -> str:
        assert main(["--no-warnings", *words]) == 0, capfd.readouterr().err
        out, err = capfd.readouterr()
        assert not err or err.startswith("Attached ")
        return out

    return run


@pytest.mark.live
@pytest.mark.parametrize("name", named("text"))
def test_text(name, run, bless):
    path = HERE / "text" / f"{name}.bt"
    script, answer = split(path.read_text())
    out = run(str(path))
    if bless:
        path.write_text(join(script, out))
    else:
        assert bare(out) == bare(answer)


@pytest.mark.live
@pytest.mark.parametrize("name", named("text"))
def test_json(name, run, bless):
    path = HERE / "json" / f"{name}.jsonl"
    out = run("-f", "json", str(HERE / "text" / f"{name}.bt"))
    for line in out.splitlines():
        assert set(json.loads(line)) >= {"type", "data"}
    if bless:
        path.write_text(out)
    else:
        assert out == path.read_text()


def instructions(path: Path) -> str:
    """The maps and programs of a script as text."""
    from pbt.host.target import Target
    from pbt.isa.disasm import listing
    from pbt.isa.insn import decode
    from pbt.pipeline import Options, compile
    from pbt.source import Source
    from pbt.uapi.helpers import HELPERS

    script, _ = split(path.read_text())
    bundle = compile(Source(path.name, script), Target.load(str(TARGET)), Options(environment={}))
    helpers = {helper.id: helper.name for helper in HELPERS.values()}
    rows = [f"map {m.name}: {m.map_type} {m.key_size} {m.value_size} {m.max_entries}" for m in bundle.maps]
    for program in bundle.programs:
        code = program.code
        symbols = {r.insn: f"{r.kind.removeprefix('map_')}[{r.name}]" for r in code.relocs}
        rows += ["", f"{program.name}: {program.prog_type}"]
        rows += [f"{i:4}: {text}" for i, text in listing(decode(code.insns), helpers, symbols)]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("name", named("asm"))
def test_instructions(name, bless):
    path = HERE / "asm" / f"{name}.bt"
    script, answer = split(path.read_text())
    made = instructions(path)
    if bless:
        path.write_text(join(script, made))
    else:
        assert bare(made) == bare(answer)


def test_the_same_twice():
    for name in named("asm"):
        path = HERE / "asm" / f"{name}.bt"
        assert instructions(path) == instructions(path)
