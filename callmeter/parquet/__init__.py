"""What is counted as Parquet files: facts, one row a call, and rollups. Only these files know `pyarrow`."""
