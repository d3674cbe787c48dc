"""What HTTP heads may look like, and what of them passes between a client and a target."""
