"""Simulated organisations whose routed costs are known, to try projections on.

`traffic` makes requests, `providers` answers and bills them, `gateway` serves them by some routing,
`recorder` logs them with the faults of loggers. A `World` (`world.py`) serves the same requests
once as logged and once by the proposed routes: the difference of the two bills is the truth.
"""
