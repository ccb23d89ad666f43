"""From a session to a speed result: sampling, host and device state, gates, fresh processes."""
