"""`python -m indexer`, and so `accelerate launch -m indexer`."""

from indexer.cli import main

main()
