"""The web page: every product at a glance, for whoever keeps watch; read-only, on loopback."""
