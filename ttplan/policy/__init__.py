"""Plans held to rules, and approved: pure, of a plan's row and the chain."""
