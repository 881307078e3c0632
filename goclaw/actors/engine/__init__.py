"""The engine branch: providers, the queue, lanes and the runs in them."""
