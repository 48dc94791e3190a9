"""The live routes as a function of plan rows and chain: what was live when, what changed since, what undoing a plan puts back."""
