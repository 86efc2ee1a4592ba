"""Run the command line as ``python -m rmt_genomics.cli``."""

from rmt_genomics.cli import main

if __name__ == "__main__":
    main(prog_name="rmt-genomics")
