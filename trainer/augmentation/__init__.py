"""Co-augmentation (MOON2.0): enriched titles and expanded pictures of training products, made once, before training."""
