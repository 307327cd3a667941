"""Script text → checked script: grammar, syntax tree, expansion of attach points, names and types."""
