"""Small tools of this package alone."""
