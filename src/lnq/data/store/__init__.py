"""A folder of prepared cases: written whole, read with their hashes, built in parallel."""
