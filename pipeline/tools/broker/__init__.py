"""The local single-node Kafka: jars pinned by hash, a Java from a wheel, one process in the background."""
