"""The languages that vendors speak, one package each."""
