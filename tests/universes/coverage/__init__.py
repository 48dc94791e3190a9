"""How often intervals cover the truth of simulated traffic.

`python -m tests.universes.coverage` prints it.
"""
