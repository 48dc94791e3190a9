"""The stores of plans, live routes, the audit chain and logged requests, behind one protocol."""
