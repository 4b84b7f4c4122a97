"""The service beside the bare generator and beside other servers of the same generator."""
