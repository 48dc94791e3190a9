"""The verbs on plans besides applying them: one module each."""
