"""What the SRE sees: metrics, and whether the freshness promise holds."""
