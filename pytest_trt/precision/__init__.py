"""Precision in depth: the layer that loses it."""
