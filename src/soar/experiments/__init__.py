"""The paper's figures and tables, and the experiments behind this project's own claims, as commands."""
