#!/bin/sh
# Serve the panel over HTTPS to the devices of your tailnet: https://MACHINE.TAILNET.ts.net/ -> http://127.0.0.1:7860/
#
# Start the panel with a password and --public-host MACHINE.TAILNET.ts.net. `tailscale serve status` shows the name.
set -eu
exec tailscale serve --bg "${1:-7860}"
