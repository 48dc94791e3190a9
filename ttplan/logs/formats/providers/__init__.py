"""Logs that providers write themselves: Bedrock, Vertex AI, and results of batches."""
