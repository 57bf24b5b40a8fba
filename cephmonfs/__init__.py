"""cephmonfs: a Ceph monitor client as a file system."""

__version__ = "0.1.0"
