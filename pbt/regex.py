"""Regular expressions compiled when first used: `re` takes longer to import than a small script takes to compile"""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

    Regex = re.compile
else:

    class Regex:
        """Stands for a compiled pattern, with all its methods."""

        def __init__(self, pattern):
            self._pattern = pattern

        def __getattr__(self, name):
            import re

            made = re.compile(self._pattern)
            for method in ("match", "fullmatch", "search", "sub", "finditer", "findall"):
                setattr(self, method, getattr(made, method))
            return getattr(made, name)
