"""Method `hall`: its intervals, the unit that is resampled, and the coming month."""
