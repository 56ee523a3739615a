"""`python -m broker`: the test broker."""

from broker.command import main

main()
