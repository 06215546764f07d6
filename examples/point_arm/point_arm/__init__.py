"""What another package can add to dtql-robot."""
