"""A trained policy as something that acts: scaling, chunks, NumPy, export."""
