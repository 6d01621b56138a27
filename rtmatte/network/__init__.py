"""The PyTorch networks: one definition for training, export and the eager backend. Loaded only by those."""
