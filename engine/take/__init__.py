"""From batches to joined spans, templates, series and changes."""
