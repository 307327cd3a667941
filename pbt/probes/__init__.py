"""One file per probe type, each holding one `Provider`."""
