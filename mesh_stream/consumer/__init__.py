"""Who uses the facts."""
