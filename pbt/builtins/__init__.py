"""One record per builtin, aggregation and presentation: kernel half and user-space half together."""
