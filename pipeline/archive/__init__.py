"""Stage 5: every scored flow and every reject into Parquet, exactly once, with manifests that prove it."""
