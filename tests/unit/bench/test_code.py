from bench.code import Cost, Row, told

ROWS = [
    Row("scripts", "quick", {"pbt": Cost(1, 30, 20, 100.0), "old": Cost(1, 60, 40, 400.0), "new": Cost(1, 90, 80, 200.0)}),
    Row("scripts", "unsure", {"pbt": Cost(1, 10, 10, 90.0), "old": None, "new": Cost(1, 10, 10, 100.0, False)}),
    Row("tools", "fewer.bt", {"pbt": Cost(3, 50, 50, 80.0), "old": Cost(2, 20, 20, 70.0)}),
]  # fmt: skip


def test_every_peer_is_shown_beside_pbt_with_what_is_not_settled():
    found = told(ROWS, ["old", "new"])
    assert found["ratios"]["old, scripts"] == {"scripts": 1, "xlated": 0.5, "verified": 0.5, "ns": 0.25}
    assert found["ratios"]["new, all"]["xlated"] == 0.4 and "old, tools" not in found["ratios"]
    assert found["slowest"] == [("unsure?", 0.9), ("quick", 0.5)]
    assert found["not settled"] == {"unsure": ["new"]}
    head = found["text"].splitlines()[2]
    assert "old: ns" in head and "new: xlated" in head
