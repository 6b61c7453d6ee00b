"""The console: pages that show what robots do, and take what people say about it (docs/console.md)."""
