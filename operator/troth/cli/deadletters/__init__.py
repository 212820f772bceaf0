"""`troth deadletters`: dead letters of a policy, and reviews of them."""
