"""Rules about messages and who checks them."""
