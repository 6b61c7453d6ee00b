"""Parts that networks share: layers, the text encoder, devices, model files. Nothing here knows a robot."""
