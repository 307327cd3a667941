"""Typed script → IR, one program at a time."""
