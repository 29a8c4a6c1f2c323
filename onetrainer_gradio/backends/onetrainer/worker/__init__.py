"""The bridge worker: a program for OneTrainer's own Python, run by the path of this folder; see ``__main__.py``."""
