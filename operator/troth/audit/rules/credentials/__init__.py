"""Rules about credentials and who uses them."""
