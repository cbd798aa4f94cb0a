"""Where findings go: one destination a file."""
