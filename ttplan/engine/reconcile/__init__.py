"""What a plan projected against what happened: units, sums, and the causes of the difference."""
