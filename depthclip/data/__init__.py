"""The data sets, one a file, all the same to the model."""
