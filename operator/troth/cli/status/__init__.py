"""`troth status`: where every resource stands."""
