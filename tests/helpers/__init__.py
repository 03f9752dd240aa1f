"""What several test modules build with: toys, files in other formats, and damage to files."""
