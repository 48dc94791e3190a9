"""The store's policy: rules that a plan must meet, and approvals. Pure functions."""
