"""An Iceberg copy of the archive, for engines that read a catalog: needs `pip install '.[iceberg]'`."""
