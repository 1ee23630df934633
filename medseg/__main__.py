"""`python -m medseg`."""

from medseg.cli.main import main

main()
