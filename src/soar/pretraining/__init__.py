"""What a robot starts from: demonstrations and pictures from the simulator, and base models trained on them."""
