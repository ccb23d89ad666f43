"""Engines: what is asked (spec), what they are called (key), where they are kept (cache)."""
