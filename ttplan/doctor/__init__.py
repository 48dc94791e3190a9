"""The log doctor: what a log's own costs are worth, and what they should be."""
