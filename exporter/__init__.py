"""Talks to the world: receives OTLP, stores, publishes. Uses the engine by its front door only: engine.pipeline and engine.records."""

__version__ = "0.1.0"
