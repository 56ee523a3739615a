"""The network, the broker, the clock and the power fail on purpose."""
