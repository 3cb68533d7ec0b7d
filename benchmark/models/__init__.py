"""The frozen pretrained model, its head, and what is learned on it."""
