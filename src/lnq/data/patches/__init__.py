"""From the store to batches: cutting, augmentation, corruption, the queue."""
