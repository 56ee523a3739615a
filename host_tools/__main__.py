"""python -m host_tools is the anchorcam command."""

from host_tools.cli import main

main()
