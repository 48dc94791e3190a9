"""Make a plan live: status, routes and audit entry together.

`apply_plan` is the only way to flip a status, so nobody gets an applied plan without a chain entry.
"""
