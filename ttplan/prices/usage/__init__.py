"""What a provider's usage object says: one table of spellings, one model of tokens and fees."""
