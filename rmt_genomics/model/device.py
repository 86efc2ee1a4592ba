"""Where a model runs."""

import torch

from rmt_genomics.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")
