"""Classify long DNA sequences with a bidirectional Recurrent Memory Transformer."""
