"""What is of this machine: accounts, files that root writes, unmounting."""
