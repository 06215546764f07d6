"""The commands of `dtql-robot`, one module each: `Options` and `run(options)`."""
