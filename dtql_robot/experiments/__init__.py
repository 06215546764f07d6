"""Tasks x methods x seeds, and the paper's bandits."""
