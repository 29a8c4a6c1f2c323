"""The Hugging Face Hub: finding models, downloading them before a run, and publishing what a run made."""
