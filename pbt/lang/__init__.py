"""Script text → checked script: grammar, syntax tree, expansion of attach points, names and types."""

from pbt.modules import later

later(__name__, "constexpr layout")
