"""The products that build and run engines: the only place where vendor modules are imported."""
