"""From demonstrations to a trained agent.  Imports no simulator."""
