"""This machine: accounts, privileges, mount table, files that root writes, unmounting."""
