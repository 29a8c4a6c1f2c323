"""Start the panel in this Space. The file README.md lists the secrets and variables that it uses."""

import sys

from onetrainer_gradio.space import main

if __name__ == "__main__":
    sys.exit(main())
