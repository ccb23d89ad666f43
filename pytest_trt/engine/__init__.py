"""Engines: the request (spec), the identity (key), the store (cache), build-or-load, facts."""
