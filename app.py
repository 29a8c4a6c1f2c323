"""Open the panel from a checkout: ``python app.py --help``."""

import sys

from onetrainer_gradio.server import main

if __name__ == "__main__":
    sys.exit(main())
