"""Files of a machine, live or saved, become facts: types, tracepoints, symbols, processes, features."""
