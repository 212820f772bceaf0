"""Rules about connections that the network allows in addition to those that Troth opens."""
