"""Where fits are made: processes, a Dask cluster; and how far they are."""
