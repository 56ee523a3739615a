"""The camera's firmware, stood in for on a PC: real MicroPython, real mbedTLS."""
