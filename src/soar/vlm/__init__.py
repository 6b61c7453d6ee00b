"""Vision-language models: yes/no questions about images (paper §B.1)."""
