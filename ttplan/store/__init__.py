"""Where plans, live routes, the audit chain and the logged requests are kept, behind one protocol."""
