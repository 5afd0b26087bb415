"""What is run, and the pictures and tables made of it."""
