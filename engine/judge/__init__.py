"""From evidence to an incident with a cause, a change and a confidence."""
