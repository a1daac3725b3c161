"""The commands of `trainer`, by what they work on."""
