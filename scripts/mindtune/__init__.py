"""The shared, tested library behind the programs in scripts/."""
