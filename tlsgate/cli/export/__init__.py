"""Rules for a balancer in front: which TLS connections are the gateway's, without ending TLS.

1. `rules.rules_of` takes them from the token table and a configuration.
2. `haproxy`, `nginx` and `envoy` write each a configuration that can be used as it is.

A balancer that shares its port with other servers sends these to the gateway and the rest
elsewhere. It must not end TLS: the gateway checks the client's certificate itself.
"""
