"""The gate's own pages and API, on every name that no route claims.

`protocol` is what the gate knows; `visit` is one connection with what is known of it;
`site` is the tree of resources that all connections of one configuration share; `ping` makes
the documents at /webapi/ping and /webapi/find; `page` makes the landing page.
"""
