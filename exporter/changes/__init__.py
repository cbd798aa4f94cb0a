"""Every shape of a change event to one ConfigChange."""
