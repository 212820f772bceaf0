"""Reviews: dead letters are delivered again only with a second person's approval."""
