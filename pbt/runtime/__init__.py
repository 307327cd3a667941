"""From a Bundle to a running script: load, attach, read, act, print. Never imports the compiler."""

from pbt.modules import later

later(__name__, "child")
