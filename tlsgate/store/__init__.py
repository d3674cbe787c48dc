"""Providers of `IStore`."""
