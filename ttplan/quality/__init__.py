"""Are the cheaper model's answers as good? Which requests to re-run, and what a judge says of the answers."""
