"""What everyone sees: the plan of what the mesh declares against what is there."""
