"""Our policies and environments in the clothes of other packages."""
