"""Where the fits run: processes or a Dask cluster, and their progress."""
