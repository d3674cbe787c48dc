"""The configuration: YAML text in, one frozen `Settings` or every problem out."""
