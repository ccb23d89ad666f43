"""The version of this package, for whatever stores it in a file."""

__version__ = "0.1.0"
