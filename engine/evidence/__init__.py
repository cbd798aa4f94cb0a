"""Families of evidence: who deviates from its own past, one family a file, all on one scale (Z)."""
