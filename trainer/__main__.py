"""`python -m trainer`, which launchers of several processes need: `accelerate launch -m trainer fit ...`."""

from trainer.cli import main

main()
