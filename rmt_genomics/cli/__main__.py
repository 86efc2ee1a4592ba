"""Run the command line as ``python -m rmt_genomics.cli``."""

from rmt_genomics.cli import main

main(prog_name="rmt-genomics")
