"""The history of live routes, computed from plan rows and the audit chain."""
