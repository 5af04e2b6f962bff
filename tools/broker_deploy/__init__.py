"""`make deploy` and `make delete`: the SAM CLI, with the questions before and the next steps after."""
