"""Hostile input and hostile moments. No script here asks the network or opens a window."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports huggingface_hub
os.environ.setdefault("MPLBACKEND", "Agg")
