"""What a gateway knows of its cluster, and how it keeps to that."""
