"""`broker doctor`: does a broker stand as it should? Gathering (I/O) is apart from judging (pure); neither changes anything."""
