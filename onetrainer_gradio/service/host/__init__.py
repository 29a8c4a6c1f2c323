"""Access to the machine: files, processes, system readings, secrets and sign-in."""
