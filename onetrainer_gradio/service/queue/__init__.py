"""Keep the runs that wait for a device, and start each one when its turn comes."""
