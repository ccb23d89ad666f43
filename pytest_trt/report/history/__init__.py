"""Trends of tests over many reports: what changed, and from which run on."""
