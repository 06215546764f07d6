"""Many environments at once, here and in other processes."""
