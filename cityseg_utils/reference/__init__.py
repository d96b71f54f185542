"""The trained model that comes with the course, and how it was made."""
