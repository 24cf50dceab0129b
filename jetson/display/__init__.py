"""What a person sees of a run: a window, or a page in a browser."""
