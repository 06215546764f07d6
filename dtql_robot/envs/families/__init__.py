"""One module for each family of environments, each importing its simulator when it is used."""
