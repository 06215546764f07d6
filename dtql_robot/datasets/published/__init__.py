"""Data sets by their published names: where they are, and how they come into the cache."""
