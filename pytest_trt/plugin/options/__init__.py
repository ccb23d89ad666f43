"""The options: the table of them, parsers of their values, and their resolution."""
