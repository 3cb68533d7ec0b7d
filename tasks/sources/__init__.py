"""What several streams are made from: text classification tasks, Natural Instructions, images."""
