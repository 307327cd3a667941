"""Migration: what a script does stays, what is modern stays, comments stay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pbt.bundle import Bundle, Map, Place
from pbt.data import replace
from pbt.host.target import Target
from pbt.lang.migrate import migrate
from pbt.pipeline import Options, run
from pbt.source import PbtError, Source
from tests.property.test_fmt import TOOLS, comments, each_row


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_files(path: Path) -> None:
    obeys(path.read_text())


def test_rows() -> None:
    each_row(obeys)


def obeys(text: str) -> None:
    once = migrate(Source("script", text))
    assert migrate(once).text == once.text
    kept = [note for note in comments(text) if note.startswith(("/", "#!"))]
    if "BPFTRACE_HAVE_BTF" not in text:  # what is left out takes its comments along
        assert [note for note in comments(once.text) if note.startswith(("/", "#!"))] == kept


@pytest.mark.live
@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_the_programs_stay_the_same(path: Path, tracefs: Path) -> None:
    source, options = Source("script", path.read_text()), Options(unsafe=True, environment={})
    try:
        before = run(source, Target.live(), options).bundle
    except PbtError as error:
        pytest.skip(f"does not compile here: {error}")
    after = run(migrate(source), Target.live(), options).bundle
    assert before is not None and after is not None
    if re.search(
        r"unroll|while|\bprobe\b", source.text
    ):  # other statements; the name of BEGIN is as it is spelled
        return
    assert [p.code.insns for p in after.programs] == [p.code.insns for p in before.programs]
    assert _unplaced(after) == _unplaced(before)


def _unplaced(bundle: Bundle) -> list[Map]:
    return [replace(map_, span=Place(-1, -1)) for map_ in bundle.maps]
