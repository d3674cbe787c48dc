"""Reverse tunnels: agents dial out, and the gateway reaches their targets through them."""
