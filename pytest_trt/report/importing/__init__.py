"""Files of other tools as evidence in a report of ours."""
