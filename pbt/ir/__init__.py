"""Typed SSA in basic blocks: what the language lowers to and the backend selects from."""
