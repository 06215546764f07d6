"""Who acts where demonstrations are recorded without a script: a policy of the user's, a released one, or chance."""
