"""What holds for all tests."""

from hypothesis import settings

# The machines that run this are shared and slow by turns: a deadline per example would only measure the neighbours.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
