"""Start, supervise, stop and follow the processes of a run."""
