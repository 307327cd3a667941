"""What `pbt verify --log` prints is what the running kernel's log says of the same programs."""

from __future__ import annotations

import pytest

from tests.live.logs import pairs

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("level", "least"), [(1, 0.97), (2, 0.97)])
def test_same_lines(level: int, least: float) -> None:
    """Programs of every kind, accepted and refused; what is not compared stands in tests/live/logs.py."""
    found = list(pairs(level, 30))
    lines, shared = sum(len(pair.kernels) for pair in found), sum(pair.shared() for pair in found)
    worst = sorted(found, key=lambda pair: pair.shared() / (len(pair.kernels) or 1))[:3]
    assert len(found) > 100
    assert shared >= least * lines, [(pair.name, *pair.differences()) for pair in worst]
