"""The auth service: authorities, users, roles, tokens, locks, and the API over them."""
