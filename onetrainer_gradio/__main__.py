"""Run the command line: ``python -m onetrainer_gradio``."""

import sys

from onetrainer_gradio.server import main

if __name__ == "__main__":
    sys.exit(main())
