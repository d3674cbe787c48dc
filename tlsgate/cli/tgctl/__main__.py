"""`python -m tlsgate.cli.tgctl` is tgctl."""

from tlsgate.cli.tgctl.main import main

main()
