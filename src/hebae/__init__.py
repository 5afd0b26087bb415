"""hebae."""
