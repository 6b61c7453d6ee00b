"""Models behind HTTP, seen from the robot: the client, its wire format, and what is done while a server is away."""
