"""What is alive: one file or sub-room per branch of the tree."""
