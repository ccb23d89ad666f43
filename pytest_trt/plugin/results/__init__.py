"""What became of the tests: judged, collected, stored as baselines, and reported."""
