"""OTLP bytes to columns."""
