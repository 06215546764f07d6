"""What a run folder shows to a person: one page and its figures."""
