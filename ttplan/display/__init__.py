"""What a cell can end with, told to a person: as text that fits 80 columns, and as escaped HTML."""
