"""The running kernel and the simulator answer systematic questions alike (see tests/lab/questions.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbt.host.target import Target
from tests.lab import questions

pytestmark = pytest.mark.live


@pytest.mark.parametrize("kind", ["parameters", "maps"])
def test_answers(kind: str, tmp_path: Path) -> None:
    if Target.live().types is None:
        pytest.skip("this kernel has no BTF")
    assert questions.compare("here", [kind], tmp_path) == []
