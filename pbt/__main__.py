"""`python -m pbt` and the command `pbt`."""

from pbt.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
