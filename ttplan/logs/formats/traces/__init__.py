"""Exports of tracing tools: Phoenix, MLflow, LangSmith, Datadog, and Langfuse's older table."""
