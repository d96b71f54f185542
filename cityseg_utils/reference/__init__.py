"""How the reference model is trained, and the place of its weights."""
