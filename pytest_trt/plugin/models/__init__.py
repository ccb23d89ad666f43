"""Models of a test: their engines, built, loaded, and observed when they run."""
