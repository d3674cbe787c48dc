"""Applications: HTTP parsed once, at the gateway, and carried to agents."""
