"""`troth webhook`: sign a delivery as its sender would, or verify one."""
