"""What turns a model's similarities into probabilities and match levels, learned from the development split."""
