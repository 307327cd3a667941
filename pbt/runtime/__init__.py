"""From a Bundle to a running script: load, attach, read, act, print. Never imports the compiler."""
