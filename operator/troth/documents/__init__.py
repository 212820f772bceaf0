"""Files that two programs share: one reader and one writer for each."""
