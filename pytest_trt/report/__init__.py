"""Records of what tests found, and how they are shown."""
