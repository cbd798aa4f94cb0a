"""Computes findings from telemetry. No clock, thread, socket, file or global random state: time and chance are arguments."""
