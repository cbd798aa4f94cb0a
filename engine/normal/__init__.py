"""What is usual: baselines, features, models, index."""
