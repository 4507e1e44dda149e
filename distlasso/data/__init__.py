"""Data from its source to a tile: sources are ingested into a store, a Dataset opens it, its tiles are blocks."""
