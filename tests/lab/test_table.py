"""docs/kernels.md is what found.json and tools.json say, and leaves no cell empty."""

from __future__ import annotations

import json
import re

from tests.lab import table


def test_the_page_is_up_to_date():
    page = table.page(json.loads(table.FOUND.read_text()), json.loads(table.TOOLS.read_text()))
    assert page == table.PAGE.read_text()
    assert not re.search(r"\| +\|(?!\n\|---)|not run", page)


def test_a_refusal_leads_to_its_reason():
    page = table.page({}, {"6.1": {"a": 3, "b": "ERROR: none"}, "6.12": {"a": "ERROR: none", "b": 2}})
    assert "| a | 3 | no (1) |\n| b | no (1) | 2 |" in page and "\n1. none\n" in page
