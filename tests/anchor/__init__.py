"""The truth table: every row of the zoo, asked of real mbedTLS."""
