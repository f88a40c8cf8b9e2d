"""An Iceberg copy of the archive, for engines that ask a catalog: needs `pip install 'forebay[iceberg]'`."""
