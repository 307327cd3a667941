from __future__ import annotations

import pytest

from pbt.host.probe import BtfId, Features
from pbt.uapi.features import FEATURES, Feature

TABLE = {
    "new": Feature("new", "6.1", "map", ()),
    "old": Feature("old", "5.1", "map", ()),
    "typed": Feature("typed", "5.5", "prog", ()),
}


def test_each_feature_is_tried_once_and_only_when_asked_for() -> None:
    tried = []

    def attempt(feature: Feature, btf_id: BtfId) -> bool:
        tried.append(feature.name)
        return feature.name != "new"

    features = Features(table=TABLE, attempt=attempt)
    assert not tried
    assert features.has("old") and features.has("old") and not features.has("new") and not features.has("new")
    assert tried == ["old", "new"]
    assert features.all() == {"old", "typed"} and tried == ["old", "new", "typed"]


def test_without_btf_there_are_no_ids() -> None:
    features = Features(table=TABLE, attempt=lambda feature, btf_id: btf_id("func", "vfs_read") > 0)
    assert not features.has("typed")


def test_an_unknown_name_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="no row nonsense"):
        Features(table=TABLE).has("nonsense")


@pytest.mark.live
def test_the_running_kernel() -> None:
    features = Features()
    assert features.has("probe_read_kernel") and features.has("ktime_get_boot_ns")
    assert features.all() <= set(FEATURES)
