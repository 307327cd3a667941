"""Debugging information of programs and libraries, versions 2 to 5, read where it is asked for."""
