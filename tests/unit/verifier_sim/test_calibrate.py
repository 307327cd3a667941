"""Programs that tell rules apart, and what is made of a kernel's answers."""

from __future__ import annotations

import pytest

from pbt.verifier_sim import MapInfo, verify
from pbt.verifier_sim.calibrate import PROBES, Probe, calibrated, programs
from pbt.verifier_sim.kernels import RULES, Features, features

_MAPS = (MapInfo("array", "ARRAY", 4, 16, 4),)
_BASES = ("7.3", "6.18", "6.18.15", "6.12", "6.1", "5.10")


def _taken(rule: str, rules: Features) -> bool:
    prog_type, code, maps = programs()[rule]
    references = {at: (0, "map_fd", 0) for at in maps}
    return verify(code, prog_type=prog_type, maps=_MAPS, map_of=references, features=rules, kernel="7.3").ok


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.rule)
def test_the_program_tells_its_rule(probe: Probe) -> None:
    """On some kernel, the rule alone decides whether the program is accepted."""
    assert probe.rule in {rule.name for rule in RULES}
    assert any(
        _taken(probe.rule, features(base) | {probe.rule}) == probe.means
        and _taken(probe.rule, features(base) - {probe.rule}) != probe.means
        for base in _BASES
    )


def test_answers_correct_the_release() -> None:
    guess = features("6.18.15")
    accepted = {"swap_known": True, "negation": False, "const_shifts": False}
    known = calibrated(guess, accepted)
    assert known - guess == {"swap_known"}
    assert guess - known == {"negation"}


def test_distributions_do_not_say_the_point_release() -> None:
    assert features("6.1.0-56-amd64") == features("6.1") != features("6.1.0")
    assert features("6.18.15+deb13-amd64") == features("6.18.15") != features("6.18.44")
