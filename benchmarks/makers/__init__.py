"""How the policies were made that `collect --level` records."""
